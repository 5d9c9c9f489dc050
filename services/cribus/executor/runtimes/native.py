"""The built-in runtime: a keeper and an init, forked; no other program."""

import os
import socket
from contextlib import ExitStack
from typing import Any, NamedTuple

from cribus import errors
from cribus.api.executor import STDIN
from cribus.executor import keepers, waiting
from cribus.executor.child import failure
from cribus.executor.node import Held, Node
from cribus.executor.plan.build import Plan
from cribus.executor.state import FIFO
from cribus.linux import process
from cribus.steps import Step

_INIT = "cribus.executor.child.init:main"
_DEADLINE = 60.0  # seconds: a mount of a foreign path may take its time, but not for ever
_KEEPING = Step("executor.create.keeper")
_ANSWERED = Step("executor.create.init")
_LET = Step("executor.start.let-go")


class Made(NamedTuple):
    """A container up to the start barrier. `held` belongs to the receiver."""

    pid: int
    keeper: int
    held: Held
    warnings: list[str]


class _Passed:
    """Descriptors for the fork server, by index."""

    def __init__(self) -> None:
        self.fds: list[int] = []

    def add(self, fd: int) -> int:
        self.fds.append(fd)
        return len(self.fds) - 1


async def create(node: Node, bundle: str, spec: dict[str, Any], plan: Plan) -> Made:
    """Fork keeper and init, and wait until init is ready to be started.

    Raises what init could not do, or DeadlineExceeded when something in it hangs; the caller tears
    down.
    """
    with ExitStack() as stack:
        passed = _Passed()
        ours, sync, request = _request(stack, passed, bundle, (spec, plan))
        with _KEEPING.of(bundle[-64:]):
            keeper = await node.keepers.run(request, passed.fds)
        os.close(keeper.pidfd)
        stack.close()  # ours alone are `ours` and `sync`: the rest would hide the keeper's end of them
        with ours, _ANSWERED.of(bundle[-64:]):
            pid, pidfd = await _answer(ours, sync)
        held = Held(pidfd, sync)
        try:
            return Made(pid, keeper.pid, held, await _ready(held))
        except BaseException:
            for fd in held:
                os.close(fd)
            raise


def _request(
    stack: ExitStack, passed: _Passed, bundle: str, what: tuple[dict[str, Any], Plan]
) -> tuple[socket.socket, int, dict[str, Any]]:
    """Everything that the keeper needs: (our end of its answer, read end of the error pipe, its request)."""
    spec, plan = what
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    stack.callback(theirs.close)
    sync, sync_write = os.pipe()
    fifo = os.open(f"{bundle}/{FIFO}", os.O_RDWR | os.O_CLOEXEC)
    run = os.open(bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    alive = keepers.claim(bundle)
    for fd in (sync_write, fifo, run, alive):
        stack.callback(os.close, fd)
    hold = {"sync": passed.add(sync)}
    terminal = plan.init["process"]["terminal"]
    three = [] if terminal else _streams(stack, spec.get("annotations", {}).get(STDIN) == "true")
    inner = []
    for name, (inside, outside) in zip(("stdin", "stdout", "stderr"), three, strict=False):
        inner.append(passed.add(inside))
        if outside >= 0:
            hold[name] = passed.add(outside)
    pidns = -1
    if plan.pidns:
        fd = os.open(plan.pidns, os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, fd)
        pidns = passed.add(fd)
    init = {
        "main": _INIT,
        "request": plan.init,
        "fds": [*inner, passed.add(fifo), passed.add(sync_write)],
        "flags": plan.flags,
        "pidns": pidns,
        "link": terminal,
    }
    passed.add(alive)
    request = {"run": passed.add(run), "answer": passed.add(theirs.fileno()), "hold": hold}
    spare = [pidns] if pidns >= 0 else []
    return ours, sync, {**request, "title": f"keeper: {bundle}", "spare": spare, "init": init}


def _streams(stack: ExitStack, stdin: bool) -> list[tuple[int, int]]:
    """(the container's end, the other end or -1) of standard input, output and error.

    The container's end of an output is open for reading too: a moment without any reader, while a
    shim is replaced, must not be a SIGPIPE.
    """
    made = []
    if stdin:
        made.append(os.pipe())
    else:
        made.append((os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), -1))
    for _ in range(2):
        read, write = os.pipe()
        both = os.open(f"/proc/self/fd/{write}", os.O_RDWR | os.O_CLOEXEC)
        os.close(write)
        made.append((both, read))
    for fd in [fd for pair in made for fd in pair if fd >= 0]:
        stack.callback(os.close, fd)
    return made


async def _answer(ours: socket.socket, sync: int) -> tuple[int, int]:
    """Pid and pidfd of init from the keeper."""
    try:
        data, fds = await waiting.receive(ours, 1, _DEADLINE)
    except (OSError, TimeoutError) as error:
        os.close(sync)
        raise errors.Internal("the keeper died before it had started the container; repeat") from error
    if not fds:
        os.close(sync)
        raise errors.Internal(f"keeper: {data.decode(errors='replace') or 'died at once'}")
    return int(data), fds[0]


async def _ready(held: Held) -> list[str]:
    """Wait for init; its warnings."""
    try:
        said = await waiting.text(held.sync, _DEADLINE, b"ready")
    except TimeoutError as error:
        process.pidfd_send_signal(held.pidfd, 9)
        raise errors.DeadlineExceeded(
            f"the container was not set up within {_DEADLINE:g} s; a mount of it may hang"
        ) from error
    warnings, refused, ready = failure.read(said)
    if refused:
        raise errors.from_code(*refused)
    if not ready:
        raise errors.Internal("the container's first process died while it was set up; it was killed from outside")
    return warnings


async def start(held: Held, bundle: str) -> None:
    """Let init go on, and wait for its exec. Raises what it could not do."""
    try:
        fd = os.open(f"{bundle}/{FIFO}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        fd = -1  # nobody waits there: it was started before, and only its answer was lost
    if fd >= 0:
        with _LET.of(bundle[-64:]):
            os.write(fd, b"s")
            os.close(fd)
    try:
        said = await waiting.text(held.sync, _DEADLINE)
    except TimeoutError as error:
        raise errors.DeadlineExceeded("the container's program was not executed in time; its file may hang") from error
    refused = failure.read(said)[1]
    if refused:
        await waiting.readable(held.pidfd, 5.0)
        raise errors.from_code(*refused)
