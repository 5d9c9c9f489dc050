"""From a prepared child to the program: limits, identity, capabilities, seccomp, exec.

`become` is the end of init and of exec alike. Its argument is what plan/process.py made of a
runtime-spec `process`.
"""

import contextlib
import errno
import fcntl
import os
import resource
import signal
import stat
import termios

from cribus.executor.child.failure import Failed, code, reason, tell
from cribus.linux import capabilities, namespaces, process, scheduling, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

NOT_FOUND, NOT_EXECUTABLE = 127, 126
_CPUS = 1024 if (os.cpu_count() or 1) <= 1024 else 8192  # as Linux is built
_SHELL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def limits(what: "dict[str, Any]", sync: int) -> None:
    """rlimits, oom_score_adj, scheduling and personality; what CAP_SYS_RESOURCE would be needed for is a warning."""
    for number, soft, hard in what["rlimits"]:
        try:
            resource.setrlimit(number, (soft, hard))
        except (ValueError, PermissionError):
            _, have = resource.getrlimit(number)
            most = hard if have == resource.RLIM_INFINITY or 0 <= hard < have else have
            resource.setrlimit(number, (min(soft, most) if soft >= 0 else most, most))
            tell(sync, "warning", f"rlimit {number} cannot be raised to {hard} without CAP_SYS_RESOURCE; it is {most}")
    if what["oom"] is not None:
        _oom_score(what["oom"], sync)
    if what["scheduler"]:
        scheduling.set_scheduler(*what["scheduler"])
    if what["io_priority"]:
        scheduling.set_io_priority(*what["io_priority"])
    if what["memory_policy"]:
        scheduling.set_memory_policy(*what["memory_policy"])
    if what["personality"] >= 0:
        process.set_personality(what["personality"])


def any_cpu() -> None:
    """Every CPU that the cgroup lets it have, whatever the services were given: in a cgroup without a cpuset that
    would be inherited."""
    os.sched_setaffinity(0, range(_CPUS))


def _oom_score(score: int, sync: int) -> None:
    fd = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
    try:
        os.write(fd, b"%d" % score)
    except PermissionError:
        tell(sync, "warning", f"oom_score_adj {score} is below what may be set without CAP_SYS_RESOURCE")
    finally:
        os.close(fd)


def streams(three: "list[int]") -> None:
    """Let these be standard input, output and error."""
    lifted = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) if fd < 3 else fd for fd in three]
    for number, fd in enumerate(lifted):
        os.dup2(fd, number)


def own_null() -> None:
    """A standard input without content is the container's own /dev/null, where it has one: a checkpoint can tell
    what an open file is only by the container's mounts."""
    host = os.fstat(0)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        own = os.stat("/dev/null")
        if stat.S_ISCHR(host.st_mode) and (own.st_mode, own.st_rdev) == (host.st_mode, host.st_rdev):
            fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
            os.dup2(fd, 0)
            os.close(fd)


def terminal(slave: int) -> None:
    """Let `slave` be the controlling terminal and all three streams. The caller leads a session."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    streams([slave, slave, slave])


def default_signals() -> None:
    """What the services ignore or handle must not be ignored in the program."""
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP) and signal.getsignal(number) is not None:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def become(what: "dict[str, Any]", users: int = -1, last: "Callable[[], None]" = lambda: None) -> None:
    """Take the identity, do what is left to do with it, and execute. Never returns. Raises Failed with the
    sentence."""
    inside = _changed_directory(what["cwd"])  # root may enter where the user may not
    try:
        _give_streams(what["owner"])
        _identify(what, users)
    except OSError as error:
        raise Failed(code(error), f"process of the container cannot be set up: {reason(error)}") from error
    if not inside and not _changed_directory(what["cwd"]):
        raise Failed("INVALID_ARGUMENT", f'working directory "{what["cwd"]}" cannot be entered in the container')
    default_signals()
    last()
    _execute(what["args"], what["env"])


def _give_streams(owner: int) -> None:
    """Whoever the program runs as may open /dev/stdout, /dev/stderr and its terminal again."""
    for fd in range(3):
        known = os.fstat(fd)
        if known.st_uid != owner and (stat.S_ISFIFO(known.st_mode) or os.isatty(fd)):
            os.fchown(fd, owner, -1)


def _identify(what: "dict[str, Any]", users: int) -> None:
    caps = what["capabilities"]
    for label in what["labels"]:
        _label(*label)
    if users >= 0:
        namespaces.setns(users, namespaces.CLONE_NEWUSER)
        if what.get("own_mounts"):
            namespaces.unshare(namespaces.CLONE_NEWNS)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    if what["no_new_privs"]:
        process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)
    elif what["seccomp"]:
        seccomp.install(what["seccomp"], what["seccomp_flags"])
    os.umask(what["umask"])
    may = caps["all"] if users >= 0 else caps["may"]  # a new user namespace begins with all of them
    capabilities.drop_bounding(caps["bounding"], may)
    process.prctl(process.PR_SET_KEEPCAPS, 1)
    if what["groups"] is not None:
        os.setgroups(what["groups"])
    os.setresgid(what["gid"], what["gid"], what["gid"])
    os.setresuid(what["uid"], what["uid"], what["uid"])
    _set_capabilities(caps, may)
    if what["no_new_privs"] and what["seccomp"]:
        seccomp.install(what["seccomp"], what["seccomp_flags"])


def _set_capabilities(caps: dict[str, int], may: int) -> None:
    permitted = caps["permitted"] & may
    inheritable = caps["inheritable"] & may
    capabilities.capset(caps["effective"] & permitted, permitted, inheritable)
    capabilities.set_ambient(caps["ambient"] & permitted & inheritable)


def _label(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _changed_directory(path: str) -> bool:
    try:
        os.chdir(path)
    except OSError:
        return False
    return True


def _execute(args: list[str], env: list[str]) -> None:
    variables = dict(entry.partition("=")[::2] for entry in env)
    name = args[0]
    if "/" in name:
        candidates = [name]
    else:
        found = (variables.get("PATH") or _SHELL_PATH).split(":")
        candidates = [f"{directory or '.'}/{name}" for directory in found]
    refused: OSError | None = None
    for path in candidates:
        try:
            os.execve(path, args, variables)
        except OSError as error:
            if refused is None or error.errno not in (errno.ENOENT, errno.ENOTDIR):
                refused = error
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                break
    raise _explained(name, candidates, refused)


def _explained(name: str, candidates: list[str], error: OSError | None) -> Failed:
    number = error.errno if error else errno.ENOENT
    if number in (errno.ENOENT, errno.ENOTDIR):
        if "/" not in name:
            return Failed("NOT_FOUND", f'exec "{name}": executable file not found in $PATH of the container')
        if os.path.exists(candidates[0]):
            return Failed("NOT_FOUND", f'exec "{name}": its interpreter or loader is not in the container')
        return Failed("NOT_FOUND", f'exec "{name}": no such file or directory in the container')
    text = {errno.EACCES: "permission denied", errno.ENOEXEC: "exec format error: wrong machine or no #! line"}
    return Failed("INVALID_ARGUMENT", f'exec "{name}": {text.get(number or 0, os.strerror(number or 0))}')


def exit_code(failure: Failed) -> int:
    """What the failed child exits with, as a shell would."""
    return NOT_FOUND if failure.code == "NOT_FOUND" else NOT_EXECUTABLE
