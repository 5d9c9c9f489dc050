"""Facts of this host that decide how a runtime-spec looks. Read once at start, so that building a
spec stays pure."""

import os
import platform

import msgspec

# By number: linux/capability.h
_CAPABILITIES = """
CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP
CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_ADMIN CAP_NET_RAW CAP_IPC_LOCK CAP_IPC_OWNER
CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_PACCT CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_NICE
CAP_SYS_RESOURCE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_MKNOD CAP_LEASE CAP_AUDIT_WRITE CAP_AUDIT_CONTROL CAP_SETFCAP
CAP_MAC_OVERRIDE CAP_MAC_ADMIN CAP_SYSLOG CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_AUDIT_READ CAP_PERFMON CAP_BPF
CAP_CHECKPOINT_RESTORE
"""
CAPABILITIES = _CAPABILITIES.split()


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """Each field says what holds on a usual node."""

    unified: bool = True  # cgroup v2
    swap: bool = True  # the memory controller accounts swap
    hugetlb: bool = True
    apparmor: bool = False  # active in the kernel
    selinux: bool = False
    idmapped: bool = True  # kernel 5.19: overlayfs under idmapped mounts
    resctrl: bool = False  # classes of cache and memory bandwidth
    recursive_readonly: bool = True  # kernel 5.12: mount_setattr
    capabilities: tuple[str, ...] = tuple(CAPABILITIES)  # that this process may hand on
    oom_score_floor: int = -1000  # lowest oom_score_adj that may be set
    machine: str = "x86_64"
    name: str = "node"


def look() -> Host:
    """This host. Raises OSError when /proc is not mounted."""
    unified = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    kernel = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
    held = _held()
    return Host(
        unified=unified,
        swap=_swap(unified),
        hugetlb=_hugetlb(unified),
        apparmor=_text("/sys/module/apparmor/parameters/enabled") == "Y",
        selinux=os.path.exists("/sys/fs/selinux/enforce"),
        idmapped=kernel >= (5, 19),
        resctrl=os.path.exists("/sys/fs/resctrl/schemata"),
        recursive_readonly=kernel >= (5, 12),
        capabilities=held,
        oom_score_floor=-1000 if "CAP_SYS_RESOURCE" in held else int(_text("/proc/self/oom_score_adj") or 0),
        machine=platform.machine(),
        name=platform.node(),
    )


def _held() -> tuple[str, ...]:
    """The bounding set of this process (proc_pid_status(5), CapBnd)."""
    line = next(line for line in _text("/proc/self/status").splitlines() if line.startswith("CapBnd:"))
    mask = int(line.split()[1], 16)
    return tuple(name for number, name in enumerate(CAPABILITIES) if mask >> number & 1)


def _swap(unified: bool) -> bool:
    if not unified:
        return os.path.exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
    own = next((line for line in _text("/proc/self/cgroup").splitlines() if line.startswith("0::")), "0::/")
    return os.path.exists(f"/sys/fs/cgroup{own[3:]}/memory.swap.max") or os.path.exists(
        "/sys/fs/cgroup/system.slice/memory.swap.max"
    )


def _hugetlb(unified: bool) -> bool:
    if unified:
        return "hugetlb" in _text("/sys/fs/cgroup/cgroup.controllers").split()
    return os.path.isdir("/sys/fs/cgroup/hugetlb")


def _text(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""
