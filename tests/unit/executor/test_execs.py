import asyncio
import os
from pathlib import Path

import pytest
from cribus.api.executor import Exec
from cribus.errors import Aborted, FailedPrecondition, NotFound, Unavailable
from cribus.executor import execs, state
from cribus.executor.node import Node
from cribus.executor.shims import Shim
from cribus.linux import process

ASK = Exec(container="c", pod="p", exec_id="e", args=["true"])


def test_only_in_a_running_container(node: Node) -> None:
    with pytest.raises(NotFound):
        asyncio.run(execs.run(node, ASK))
    state.save(node.bundle("c"), state.Record(container="c", ready=True))
    with pytest.raises(FailedPrecondition, match="is stopped"):
        asyncio.run(execs.run(node, ASK))


def test_a_shim_that_is_away(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    state.save(node.bundle("c"), state.Record(container="c", ready=True))
    monkeypatch.setattr(state, "alive", lambda _: True)
    with pytest.raises(Unavailable, match="shim of pod p"):
        asyncio.run(execs.run(node, ASK))


@pytest.mark.parametrize(
    ("refusal", "lives", "error"),
    [
        (ProcessLookupError(3, "setns"), False, FailedPrecondition),
        (ProcessLookupError(3, "setns"), True, FailedPrecondition),  # it is ending, and has no namespaces any more
        (ConnectionError("the fork server has gone"), False, ConnectionError),  # which says nothing of the container
        (BlockingIOError(11, "clone3"), True, BlockingIOError),
    ],
)
def test_why_nothing_was_forked(
    node: Node, monkeypatch: pytest.MonkeyPatch, refusal: OSError, lives: bool, error: type[Exception]
) -> None:
    class Refusing:
        async def run(self, *_: object) -> None:
            raise refusal

    async def fork() -> None:
        await execs._fork(node, ASK, (record, Shim.__new__(Shim), []))

    node.server = Refusing()  # type: ignore[assignment]
    record = state.Record(container="c", ready=True, pid=os.getpid(), started=process.start_time(os.getpid()))
    Path(node.bundle("c"), "config.json").write_text("{}")
    monkeypatch.setattr(process, "is_running", lambda *_: lives)
    monkeypatch.setattr(execs, "_request", lambda *_: {})
    with pytest.raises(error):
        asyncio.run(fork())


def test_one_that_died_before_it_executed_is_no_end_of_its_program(node: Node) -> None:
    def said(text: bytes) -> None:
        read, write = os.pipe()
        os.write(write, text)
        os.close(write)
        try:
            asyncio.run(execs._executed(node, ASK, read, -1))
        finally:
            os.close(read)

    said(b"ready \n")
    with pytest.raises(Aborted, match="was killed before it executed"):
        said(b"")
