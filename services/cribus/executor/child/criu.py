"""criu, run in the namespaces of a pod: to write a container down, or to bring one back."""

import os

from cribus.executor.child import process
from cribus.executor.child.failure import code, reason, tell
from cribus.linux import fds as descriptors
from cribus.linux import namespaces

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
            _execute(request, at_work)
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


def _execute(request: "dict[str, Any]", at_work: int) -> None:
    """Its log is a file of its own."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    process.streams([null, null, null])
    os.dup2(at_work, 3)
    descriptors.close_range(4)
    process.default_signals()
    try:
        os.execve(request["path"], request["argv"], request["env"])
    finally:
        os._exit(process.NOT_EXECUTABLE)
