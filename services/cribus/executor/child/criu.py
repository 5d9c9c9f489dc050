"""criu, run in the namespaces of a pod: to write a container down, or to bring one back."""

import contextlib
import fcntl
import os
import signal

from cribus.executor.child import process, steps
from cribus.executor.child.failure import Failed, code, reason, tell
from cribus.linux import fds as descriptors
from cribus.linux import files, mount, namespaces
from cribus.linux import process as linux_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def dump(request: "dict[str, Any]", fds: list[int]) -> int:
    """Join, run `path` with `argv` and `env` to its end, and say "ready" if it succeeded. Descriptors: where to
    say it, and one that criu has open as long as it runs. Neither dies with whoever asked for it."""
    answer, at_work = fds
    os.setsid()
    try:
        join(request["join"])
        pid, _ = namespaces.clone3(0)
        if pid == 0:
            _execute(request, {3: at_work})
    except OSError as error:
        tell(answer, "error", f"{code(error)} {reason(error)}")
        return 1
    if os.waitpid(pid, 0)[1] == 0:
        tell(answer, "ready", "")
    return 0


def join(where: "list[list[Any]]") -> None:
    """Namespaces by [path, kind]."""
    for path, kind in where:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            namespaces.setns(fd, kind)
        finally:
            os.close(fd)


def _execute(request: "dict[str, Any]", kept: "dict[int, int]") -> None:
    """Its log is a file of its own; `kept`: number → descriptor that it finds there."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    above = max(kept) + 1
    lifted = {number: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for number, fd in kept.items()}
    process.streams([null, null, null])
    for number, fd in lifted.items():
        os.dup2(fd, number)
    descriptors.close_range(above)
    for number in range(3, above):
        if number not in kept:
            with contextlib.suppress(OSError):
                os.close(number)
    process.default_signals()
    try:
        os.execve(request["path"], request["argv"], request["env"])
    finally:
        os._exit(process.NOT_EXECUTABLE)


def restore(request: "dict[str, Any]", fds: list[int]) -> int:
    """Become criu, which brings a container back as a child of this child's parent, the keeper.

    First into the container's cgroup and the pod's namespaces, and into a mount namespace that sees the container's
    root filesystem twice: bare, where criu builds on it, and as a `pattern` with all that a new container would
    have mounted. What comes from outside criu takes from the pattern; what the pattern's mounts are is written to
    `expected`, and what criu has mounted is compared with that. Descriptors: the standard streams; `inherit` has
    the numbers under which criu looks for them. Why it failed is said in `said`.
    """
    linux_process.pdeathsig(signal.SIGKILL)
    os.setsid()
    try:
        work = steps.Work()
        steps.run(work, request["join"])
        namespaces.unshare(namespaces.CLONE_NEWNS)
        steps.run(work, request["bare"])
        _pattern(work, request)
    except (Failed, OSError) as failure:
        text = failure.message if isinstance(failure, Failed) else reason(failure)
        files.write_atomic(request["said"], text.encode(errors="replace"))
        return 1
    if request["no_new_privs"]:  # which criu 3.17 does not bring back; all that it makes inherits it
        linux_process.prctl(linux_process.PR_SET_NO_NEW_PRIVS, 1)
    _execute(request, dict(zip(request["inherit"], fds, strict=True)))
    return process.NOT_EXECUTABLE


def _pattern(work: steps.Work, request: "dict[str, Any]") -> None:
    tree = mount.open_tree(work.root, "", mount.OPEN_TREE_CLONE | mount.AT_EMPTY_PATH)
    steps.attach(tree, os.open(request["pattern"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    steps.enter(work, request["pattern"])
    steps.run(work, request["mounts"])
    if request["readonly"]:
        mount.mount_setattr(work.root, "", mount.AT_EMPTY_PATH, (mount.MOUNT_ATTR_RDONLY, 0, 0, 0))
    host = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fchdir(work.root)
    os.chroot(".")
    steps.run(work, request["mask"])
    os.fchdir(host)
    os.chroot(".")
    with open("/proc/self/mountinfo", "rb") as file:
        files.write_atomic(request["expected"], file.read())
