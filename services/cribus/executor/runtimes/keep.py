"""Starting a keeper with a container's streams: what every runtime handler begins with."""

import errno
import os
import socket
from contextlib import ExitStack
from typing import Any, NamedTuple

from cribus import errors
from cribus.api.executor import STDIN
from cribus.executor import keepers, waiting
from cribus.executor.node import Node
from cribus.steps import Step

_KEEPING = Step("executor.create.keeper")
_ANSWERED = Step("executor.create.init")
DEADLINE = 60.0  # seconds: a mount of a foreign path may take its time, but not for ever


class Wanted(NamedTuple):
    """`init` as keeper.py has it, without descriptors; `streams` are (the container's end, the other or -1);
    `further` are init's descriptors after those, `held` further ones of the keeper, by name."""

    init: dict[str, Any]
    streams: list[tuple[int, int]]
    further: list[int]
    held: dict[str, int]
    pidns: int = -1


class Kept(NamedTuple):
    """Init and its keeper; the pidfd belongs to the receiver."""

    pid: int
    pidfd: int
    keeper: int


class _Passed:
    """Descriptors for the fork server, by index."""

    def __init__(self) -> None:
        self.fds: list[int] = []

    def add(self, fd: int) -> int:
        self.fds.append(fd)
        return len(self.fds) - 1


async def begin(node: Node, bundle: str, wanted: Wanted) -> Kept:
    """Fork the keeper; it starts init. The descriptors stay the caller's.

    Raises Refused with what the keeper says, Aborted when it died, TimeoutError when init is not there
    in time; the caller tears down.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with ours:
        with ExitStack() as stack:
            stack.callback(theirs.close)
            run = os.open(bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, run)
            alive = keepers.claim(bundle)
            stack.callback(os.close, alive)
            passed = _Passed()
            request = _request(passed, bundle, wanted)
            request |= {"run": passed.add(run), "answer": passed.add(theirs.fileno())}
            passed.add(alive)
            with _KEEPING.of(bundle[-64:]):
                keeper = await node.keepers.run(request, passed.fds)
        try:
            with _ANSWERED.of(bundle[-64:]), waiting.overseen(keeper):
                pid, pidfd = await _answer(ours)
        finally:
            os.close(keeper.pidfd)
        return Kept(pid, pidfd, keeper.pid)


def _request(passed: _Passed, bundle: str, wanted: Wanted) -> dict[str, Any]:
    hold = {name: passed.add(fd) for name, fd in wanted.held.items()}
    inner = []
    for name, (inside, outside) in zip(("stdin", "stdout", "stderr"), wanted.streams, strict=False):
        inner.append(passed.add(inside))
        if outside >= 0:
            hold[name] = passed.add(outside)
    pidns = passed.add(wanted.pidns) if wanted.pidns >= 0 else -1
    init = {**wanted.init, "fds": [*inner, *(passed.add(fd) for fd in wanted.further)], "pidns": pidns}
    return {"hold": hold, "title": f"keeper: {bundle}", "spare": [pidns] if pidns >= 0 else [], "init": init}


# How a keeper ends what it says of a host that is short of something.
_SCARCE = tuple(os.strerror(one) for one in (errno.EAGAIN, errno.ENOMEM, errno.ENFILE, errno.EMFILE, errno.ENOSPC))


class Refused(errors.Internal):
    """What a keeper could not start, in the kernel's or the runtime's words."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        if message.endswith(_SCARCE):
            self.code = errors.ResourceExhausted.code


async def _answer(ours: socket.socket) -> tuple[int, int]:
    """Pid and pidfd of init from the keeper."""
    try:
        data, fds = await waiting.receive(ours, 1, DEADLINE)
    except TimeoutError:
        raise
    except OSError as error:
        raise errors.Aborted("the keeper died before it had started the container; repeat") from error
    if not data:
        raise errors.Aborted("the keeper was killed before it had started the container; repeat")
    if not fds:
        said = data.decode(errors="replace").removeprefix("error ")
        raise Refused(f"the container's keeper could not start it: {said}")
    return int(data), fds[0]


def streams(stack: ExitStack, *, stdin: bool) -> list[tuple[int, int]]:
    """(the container's end, the other end or -1) of standard input, output and error, closed by the stack.

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


def wants_stdin(spec: dict[str, Any]) -> bool:
    """Whether the container's standard input is kept for attach."""
    return bool((spec.get("annotations") or {}).get(STDIN) == "true")
