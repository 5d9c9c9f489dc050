"""Capabilities of the calling thread (capabilities(7))."""

import struct

from cribus.linux import libc, process

NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
SYS_RESOURCE = 24
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_VERSION_3 = 0x20080522


def last() -> int:
    """The number of the last capability that this kernel knows."""
    with open("/proc/sys/kernel/cap_last_cap", "rb", buffering=0) as file:
        return int(file.read())


def current() -> dict[str, int]:
    """The five sets of the calling thread as bit masks: inheritable, permitted, effective, bounding, ambient."""
    found: dict[str, int] = {}
    words = {"CapInh": "inheritable", "CapPrm": "permitted", "CapEff": "effective"}
    words |= {"CapBnd": "bounding", "CapAmb": "ambient"}
    with open("/proc/thread-self/status", "rb", buffering=0) as file:
        for line in file.read().decode().splitlines():
            key, _, value = line.partition(":")
            if key in words:
                found[words[key]] = int(value, 16)
    return found


def drop_bounding(keep: int, bounding: int) -> None:
    """Drop from the bounding set (now `bounding`) what is not in `keep`. Raises OSError."""
    for number in range(bounding.bit_length()):
        if bounding >> number & 1 and not keep >> number & 1:
            process.prctl(_PR_CAPBSET_DROP, number)


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) on the calling thread. Raises OSError."""
    low = 0xFFFFFFFF
    halves = [mask >> shift & low for shift in (0, 32) for mask in (effective, permitted, inheritable)]
    libc.call("capset", libc.SYS_CAPSET, struct.pack("Ii", _VERSION_3, 0), struct.pack("6I", *halves))


def set_ambient(mask: int) -> None:
    """Let exactly these be ambient; they must be permitted and inheritable. Raises OSError."""
    process.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    for number in range(mask.bit_length()):
        if mask >> number & 1:
            process.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number)
