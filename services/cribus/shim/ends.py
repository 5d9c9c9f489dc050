"""The descriptors of one further process: ours, by their part in its session, and those that it gets.

exit                    4 bytes of wait status from the fork server; without a reader it ends the process
stdin, stdin-stage      what the client types, and its stage (inlet.py)
out-1, out-2            standard output and error
kept-1, kept-2          what was read of them and not acknowledged (kept.py)
link, stage-1           with a terminal: where its master comes from, and a stage for its output
pidfd                   once it was forked; ours alone, because the memo names the process
memo                    what its session must know (memo.py)
"""

import os
import socket
from collections.abc import Iterable

from cribus.shim import kept, pump
from cribus.shim.session import STDERR, STDOUT

PASSING = ("stdin", "stdin-stage", "out-1", "out-2", "kept-1", "kept-2", "link", "stage-1")  # gone with the client


class Kind:
    """How a process's streams are made. `outputs` are the channels that somebody wants; of each at most
    `limit` bytes, 0 for all."""

    __slots__ = ("limit", "outputs", "stdin", "tty")

    def __init__(self, outputs: Iterable[int] = (STDOUT, STDERR), limit: int = 0, *, tty: bool, stdin: bool) -> None:
        self.tty = tty
        self.stdin = stdin
        self.outputs = tuple(outputs)
        self.limit = limit


def made(kind: Kind) -> tuple[dict[str, int], list[int]]:
    """Ours, and what the executor fetches (door.py). Raises OSError."""
    ours, theirs = _terminal(kind) if kind.tty else _pipes(kind)
    for channel in kind.outputs:
        ours[f"kept-{channel}"] = kept.new()
    if kind.stdin:
        ours["stdin-stage"] = pump.new_stage()
    ours["exit"], status = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    return ours, [*theirs, status]


def _terminal(kind: Kind) -> tuple[dict[str, int], list[int]]:
    """It is made in the container, and its master comes to us on a socket."""
    link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return {"link": link.detach(), "stage-1": pump.new_stage()}, [theirs.detach()]


def _pipes(kind: Kind) -> tuple[dict[str, int], list[int]]:
    ours: dict[str, int] = {}
    if kind.stdin:
        first, ours["stdin"] = os.pipe2(os.O_CLOEXEC)
    else:
        first = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    theirs = [first]
    for channel in (STDOUT, STDERR):
        ours[f"out-{channel}"], write = os.pipe2(os.O_CLOEXEC)
        theirs.append(write)
    return ours, theirs
