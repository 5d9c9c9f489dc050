import asyncio
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cribus.errors import Aborted
from cribus.executor.node import Node
from cribus.executor.runtimes import keep
from cribus.forkserver import Spawned
from cribus.linux import fds as descriptors


class Keeper:
    """Answers in the keeper's place."""

    def __init__(self, answer: bytes, fds: list[int]) -> None:
        self.answer, self.fds = answer, fds

    async def run(self, request: dict[str, Any], fds: list[int]) -> Spawned:
        import socket

        self.request = request
        with socket.socket(fileno=os.dup(fds[request["answer"]])) as sock:
            if self.answer:
                descriptors.send(sock, self.answer, self.fds)
        return Spawned(5, os.pidfd_open(os.getpid()))


def begun(node: Node, keeper: Keeper) -> keep.Kept:
    node.keepers = keeper  # type: ignore[assignment]
    with ExitStack() as stack:
        three = keep.streams(stack, stdin=False)
        wanted = keep.Wanted({"main": "x:y"}, three, [0], {"sync": 0})
        return asyncio.run(keep.begin(node, node.bundle("c"), wanted))


def test_what_the_keeper_gets_and_says(node: Node) -> None:
    keeper = Keeper(b"17", [0])
    kept = begun(node, keeper)
    os.close(kept.pidfd)
    assert (kept.pid, kept.keeper) == (17, 5)
    assert set(keeper.request["hold"]) == {"sync", "stdout", "stderr"}
    assert len(keeper.request["init"]["fds"]) == 4
    assert keeper.request["init"]["pidns"] == -1


def test_a_keeper_that_fails(node: Node) -> None:
    with pytest.raises(keep.Refused, match="could not start it: create: no"):
        begun(node, Keeper(b"error create: no", []))
    with pytest.raises(Aborted):
        begun(node, Keeper(b"", []))


def test_the_containers_end_is_never_without_a_reader() -> None:
    with ExitStack() as stack:
        (null, none), (inside, outside), _ = keep.streams(stack, stdin=False)
        assert none == -1
        assert os.read(null, 1) == b""
        os.write(inside, b"x")
        assert os.read(inside, 1) == b"x"
        assert os.get_inheritable(outside) is False
        (theirs, ours), *_ = keep.streams(stack, stdin=True)
        os.write(ours, b"in")
        assert os.read(theirs, 9) == b"in"


def test_standard_input_is_kept_on_request() -> None:
    assert keep.wants_stdin({"annotations": {"dev.cribus.stdin": "true"}})
    assert not keep.wants_stdin({"annotations": None})
    assert Path("/dev/null").exists()
