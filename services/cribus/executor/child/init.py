"""The container's first process, from its clone to its exec. Started by the keeper.

Descriptors: stdin, stdout, stderr (absent with a terminal), the start fifo, the error pipe, and with
a terminal the link to the keeper. It says "ready" on the error pipe when everything is set up, and then
waits for one byte on the fifo.
"""

import os
import signal

from cribus.executor.child import hooks, process, steps, terminal
from cribus.executor.child.failure import Failed, code, reason, tell
from cribus.linux import fds as descriptors
from cribus.linux import mount
from cribus.linux import process as linux_process
from cribus.steps import Step, kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_LIMITS = Step("init.set-up.limits")
_TERMINAL = Step("init.set-up.terminal")
_READY = Step("init.start.ready")
_LET = Step("init.start.let-go")


def main(request: "dict[str, Any]", fds: list[int]) -> int:
    """Never returns when all goes well."""
    what = request["process"]
    link = fds[-1] if what["terminal"] else -1
    fifo, sync = (fds[-3], fds[-2]) if what["terminal"] else (fds[-2], fds[-1])
    try:
        linux_process.pdeathsig(signal.SIGKILL)  # until the cgroup has it, only the keeper knows of it
        descriptors.close_all_but([0, 1, 2, *fds, *kept])
        os.setsid()
        users, state = _prepare(request, fds, (fifo, sync, link))
        with _READY.of():
            tell(sync, "ready", "")
        if not os.read(fifo, 1):
            return 0
        _LET.passed()
        # What was mounted by the host's root stays locked in a copy that belongs to the container's root.
        what["own_mounts"] = True
        process.become(what, users, _last(request, state))
    except Failed as failure:
        tell(sync, "error", f"{failure.code} {failure.message}")
        return process.exit_code(failure)
    except BrokenPipeError:
        tell(sync, "error", "ABORTED the container's keeper was killed before it had its terminal; repeat")
        return 1
    except OSError as error:
        tell(sync, "error", f"{code(error)} container cannot be set up: {reason(error)}")
        return 1
    return 1


def _prepare(request: "dict[str, Any]", fds: list[int], ends: tuple[int, int, int]) -> "tuple[int, hooks.State | None]":
    """Everything up to the barrier: the user namespace to join afterwards, or -1; and what hooks will read."""
    what = request["process"]
    fifo, sync, link = ends
    known: list[hooks.State] = []

    def halt() -> None:
        """The host's hooks run now; then the executor tells the pid that they were told."""
        tell(sync, "halfway", "")
        known.append(hooks.State(request["hooks"]["state"], int(os.read(fifo, 32))))
        known[0].run(request["hooks"]["createContainer"], "creating")

    work = steps.Work(halt)
    steps.run(work, request["join"])
    linux_process.pdeathsig(0)
    with _LIMITS.of():
        process.any_cpu()
        process.limits(what, sync)
    steps.run(work, request["root"])
    if link >= 0:
        with _TERMINAL.of():
            _terminal(link, what["size"])
    steps.run(work, request["finish"])
    for text in work.warnings:
        tell(sync, "warning", text)
    if link < 0:
        process.streams(fds[:3])
        process.own_null()
    _working_directory(what["cwd"])
    return work.users, known[0] if known else None


def _last(request: "dict[str, Any]", state: "hooks.State | None") -> "Callable[[], None]":
    """What is done as the container's user, before its program."""
    if state is None:
        return lambda: None
    return lambda: state.run(request["hooks"]["startContainer"], "created")


def _terminal(link: int, size: list[int]) -> None:
    """Its master goes to the keeper, its other side is /dev/console."""
    master = os.open(terminal.PTMX, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    slave = terminal.pair(master, size)
    os.close(os.open("/dev/console", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    mount.bind(f"/proc/self/fd/{slave}", "/dev/console")
    process.terminal(slave)
    terminal.hand_over(link, master)
    os.close(slave)


def _working_directory(path: str) -> None:
    """Made when it is missing, as runc does."""
    if not os.path.isdir(path):
        try:
            os.makedirs(path, 0o755, exist_ok=True)
        except OSError as error:
            raise Failed("INVALID_ARGUMENT", f'working directory "{path}": {error.strerror}') from error
