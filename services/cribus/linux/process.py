"""Processes by names that are not reused: pidfds and start times; and what a process sets on itself."""

import ctypes
import fcntl
import os
import signal
import struct

from cribus.linux import libc

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

# include/uapi/linux/pidfd.h: _IOWR(0xFF, 11, struct pidfd_info) of 64 bytes, its first version
_PIDFD_GET_INFO = (3 << 30) | (64 << 16) | (0xFF << 8) | 11
_PIDFD_INFO_EXIT = 1 << 3
_EXIT_CODE_AT = 60
# Only tests set it: be as on a kernel before 6.15, where nobody but the parent learns how a process ended.
_FORGETFUL = bool(os.environ.get("CRIBUS_NO_EXIT_INFO"))


def prctl(option: int, *args: int | bytes) -> int:
    """prctl(2). Raises OSError."""
    padded = [*args, 0, 0, 0, 0][:4]
    return libc.call("prctl", libc.SYS_PRCTL, option, *padded)


def set_personality(domain: int) -> None:
    """personality(2). Raises OSError."""
    libc.call("personality", libc.SYS_PERSONALITY, domain)


def pidfd_open(pid: int) -> int:
    """pidfd_open(2), close-on-exec. Raises ProcessLookupError when there is no such process."""
    return libc.call("pidfd_open", libc.SYS_PIDFD_OPEN, pid, 0)


def pidfd_send_signal(pidfd: int, number: int) -> None:
    """pidfd_send_signal(2). Raises ProcessLookupError when the process was reaped."""
    libc.call("pidfd_send_signal", libc.SYS_PIDFD_SEND_SIGNAL, pidfd, number, None, 0)


def pidfd_exit(pidfd: int) -> int | None:
    """The wait status of a process that was reaped by anyone, else None (Linux 6.15 and later).

    A zombie has no status here yet: POLLIN says that the process died, POLLHUP that it was reaped.
    """
    if _FORGETFUL:
        return None
    info = bytearray(64)
    struct.pack_into("Q", info, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:
        return None  # an older kernel, or a process that was reaped before the kernel kept such records
    if not struct.unpack_from("Q", info)[0] & _PIDFD_INFO_EXIT:
        return None
    status: int = struct.unpack_from("i", info, _EXIT_CODE_AT)[0]
    return status


def zombie_exit(pidfd: int) -> int | None:
    """The wait status of a process that has died and that nobody has reaped yet, else None.

    Source: proc_pid_stat(5), field 52, which only a zombie of ours or a capable reader shows.
    """
    pid = pid_of(pidfd)
    fields = _stat(pid) if pid > 0 else []
    if not fields or fields[0] != b"Z" or pid_of(pidfd) != pid:  # reaped meanwhile: that pid may be another's
        return None
    return int(fields[49])


def remembers_exits() -> bool:
    """Whether this kernel keeps a reaped process's status for `pidfd_exit`."""
    major, minor = (int(part) for part in os.uname().release.split(".")[:2])
    return (major, minor) >= (6, 15) and not _FORGETFUL


def _stat(pid: int) -> list[bytes]:
    """Fields of /proc/<pid>/stat from the third on; empty when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text[text.rindex(b")") + 2 :].split()


def start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot (field 22 of proc_pid_stat(5)); 0 if gone."""
    fields = _stat(pid)
    return int(fields[19]) if fields else 0


def is_running(pid: int, started: int) -> bool:
    """Whether that very process lives; a zombie does not."""
    fields = _stat(pid) if pid else []
    return bool(fields) and int(fields[19]) == started and fields[0] not in (b"Z", b"X")


def state(pid: int) -> str:
    """The letter of proc_pid_stat(5) for a process's first thread, "" if gone."""
    fields = _stat(pid)
    return fields[0].decode() if fields else ""


def work(pid: int) -> tuple[str, float]:
    """The state of a process's first thread (proc_pid_stat(5)), and for how many seconds all its threads together
    used processors or waited for one (schedstat, Documentation/scheduler/sched-stats.rst); ("", 0.0) if gone."""
    fields = _stat(pid)
    if not fields:
        return "", 0.0
    total = 0
    for thread in _threads(pid):
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat", "rb", buffering=0) as file:
                total += sum(int(one) for one in file.read().split()[:2])
        except (FileNotFoundError, ProcessLookupError):  # that thread has ended
            continue
    return fields[0].decode(), total / 1e9


def _threads(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return []


def set_subreaper(*, on: bool = True) -> None:
    """Orphans below this process become its children; or, again, those of whoever did so above it."""
    prctl(PR_SET_CHILD_SUBREAPER, int(on))


def pdeathsig(number: int) -> None:
    """Let the kernel send this signal when the parent's thread ends."""
    prctl(PR_SET_PDEATHSIG, number)


def set_name(name: str) -> None:
    """What ps calls this process (15 bytes at most count)."""
    prctl(PR_SET_NAME, os.fsencode(name)[:15] + b"\0")


def named(name: str) -> list[int]:
    """Processes of this mount namespace that ps calls so; with a name that ends in ":", all that begin so.

    What a container calls its own processes does not matter: they are in mount namespaces of their own.
    """
    ours = os.stat("/proc/self/ns/mnt").st_ino
    found = []
    for pid in [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]:
        try:
            with open(f"/proc/{pid}/comm", "rb", buffering=0) as file:
                called = os.fsdecode(file.read().rstrip(b"\n"))
            if (called == name or (name[-1:] == ":" and called.startswith(name))) and (
                os.stat(f"/proc/{pid}/ns/mnt").st_ino == ours
            ):
                found.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def home(pid: int) -> str:
    """A process's working directory, by the name that it had, should it have been deleted; "" when it is gone."""
    try:
        return os.readlink(f"/proc/{pid}/cwd").removesuffix(" (deleted)")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def pid_of(pidfd: int) -> int:
    """0 or less when it was reaped."""
    try:
        with open(f"/proc/self/fdinfo/{pidfd}", "rb", buffering=0) as file:
            text = file.read()
    except FileNotFoundError:
        return 0
    return next((int(line[4:]) for line in text.splitlines() if line.startswith(b"Pid:")), 0)


def signal_fd(number: int) -> int:
    """A non-blocking, close-on-exec descriptor from which this signal is read; it is blocked from now on.

    Source: signalfd(2). Raises OSError.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    mask = struct.pack("Q", 1 << (number - 1))
    return libc.call("signalfd4", libc.SYS_SIGNALFD4, -1, mask, len(mask), os.O_NONBLOCK | os.O_CLOEXEC)


def set_title(title: str) -> None:
    """What ps shows as this process's command line: written over argv, cut to its room."""
    fields = _stat(os.getpid())
    start, end = int(fields[45]), int(fields[46])
    room = end - start
    if room > 1:
        text = os.fsencode(title)[: room - 1]
        ctypes.memmove(start, text + b"\0" * (room - len(text)), room)
