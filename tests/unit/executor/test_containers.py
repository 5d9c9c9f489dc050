"""What is decided without a process; the rest is in tests/node/test_executor.py."""

import asyncio
import shutil
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from cribus.api.executor import Create, Created, Kill, Named, Resources
from cribus.errors import Aborted, CribusError, FailedPrecondition, Internal, InvalidArgument, NotFound
from cribus.executor import containers, state
from cribus.executor.node import Node

C = Named(container="c")


def fails(what: Awaitable[Any], kind: type[CribusError], text: str) -> None:
    async def main() -> None:
        with pytest.raises(kind, match=text):
            await what

    asyncio.run(main())


def test_unknown_container(node: Node) -> None:
    for what in (containers.start(node, C), containers.kill(node, Kill(container="c")), containers.pause(node, C)):
        fails(what, NotFound, "not known")
    asyncio.run(containers.delete(node, C))
    asyncio.run(containers.delete(node, C))
    fails(containers.create(node, Create(container="c", pod="p")), NotFound, "runtime-spec")


def test_a_spec_that_is_none(node: Node) -> None:
    Path(node.bundle("c"), "config.json").write_text("{")
    fails(containers.create(node, Create(container="c", pod="p")), InvalidArgument, "no JSON")


def test_a_directory_that_goes_while_the_container_is_made(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is deleted by a manager that knows of no such container."""
    Path(node.bundle("c"), "config.json").write_text("{}")

    async def make(_: Node, record: state.Record, *rest: Any) -> state.Record:
        shutil.rmtree(node.bundle("c"))
        raise Internal("bind: No such file or directory")

    async def unmake(_: Node, record: state.Record) -> None: ...

    monkeypatch.setattr(containers, "_make", make)
    monkeypatch.setattr(containers, "_unmake", unmake)
    fails(containers.create(node, Create(container="c", pod="p")), NotFound, "runtime-spec")


def test_an_early_answer_leaves_the_rest_to_start(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(node.bundle("c"), "config.json").write_text("{}")
    go_on = asyncio.Event()
    undone: list[int] = []

    async def make(_: Node, record: state.Record, spec: dict[str, Any], known: asyncio.Future[Created]) -> state.Record:
        state.changed(node.bundle("c"), record, pid=7, started=8)
        known.set_result(Created(pid=7, started=8))
        await go_on.wait()
        raise Internal("mount: No such device")

    async def unmake(_: Node, record: state.Record) -> None:
        undone.append(record.pid)

    monkeypatch.setattr(containers, "_make", make)
    monkeypatch.setattr(containers, "_unmake", unmake)

    async def main() -> None:
        made = await containers.create(node, Create(container="c", pod="p", early=True))
        assert made == Created(pid=7, started=8)
        starting = asyncio.create_task(containers.start(node, C))
        await asyncio.sleep(0)
        assert not starting.done()
        go_on.set()
        with pytest.raises(Internal, match="No such device"):
            await starting
        assert undone == [7]
        with pytest.raises(Aborted, match="was killed"):  # asked again by somebody who does not know of the failure
            await containers.start(node, C)

    asyncio.run(main())
    assert node.setups == {}


def test_who_waits_for_all_of_it_hears_what_failed_late(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(node.bundle("c"), "config.json").write_text("{}")

    async def make(*given: Any) -> state.Record:
        given[-1].set_result(Created(pid=7, started=8))
        raise Internal("mount: No such device")

    async def unmake(*_: Any) -> None:
        pass

    monkeypatch.setattr(containers, "_make", make)
    monkeypatch.setattr(containers, "_unmake", unmake)
    fails(containers.create(node, Create(container="c", pod="p")), Internal, "No such device")
    assert node.setups == {}


@pytest.mark.parametrize("early", [False, True])
def test_a_creation_that_hangs_ends_with_its_container(
    node: Node, monkeypatch: pytest.MonkeyPatch, *, early: bool
) -> None:
    Path(node.bundle("c"), "config.json").write_text("{}")
    undone: list[str] = []
    begun = asyncio.Event()

    async def make(*_: Any) -> state.Record:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def unmake(_: Node, record: state.Record) -> None:
        undone.append(record.container)

    monkeypatch.setattr(containers, "_make", make)
    monkeypatch.setattr(containers, "_unmake", unmake)

    async def main() -> None:
        creating = asyncio.create_task(containers.create(node, Create(container="c", pod="p", early=early)))
        await begun.wait()
        async with asyncio.timeout(5):
            await containers.delete(node, C)
        with pytest.raises(Aborted, match="was deleted while"):
            await creating

    asyncio.run(main())
    assert undone[0] == "c"
    assert node.setups == {}
    assert not Path(node.bundle("c")).exists()


@pytest.mark.parametrize("undoing", [False, True])
def test_a_start_that_waits_for_what_hangs_ends_with_its_container(
    node: Node, monkeypatch: pytest.MonkeyPatch, *, undoing: bool
) -> None:
    """Also where it has failed, and is just being undone: that is not left to go on beside the deletion."""
    Path(node.bundle("c"), "config.json").write_text("{}")
    steps: list[str] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def make(_: Node, record: state.Record, spec: dict[str, Any], known: asyncio.Future[Created]) -> state.Record:
        known.set_result(Created(pid=7, started=8))
        if undoing:
            raise Internal("mount: No such device")
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def unmake(_: Node, record: state.Record) -> None:
        steps.append("begun")
        begun.set()
        if undoing and len(steps) == 1:
            await go_on.wait()
        steps.append("over")

    monkeypatch.setattr(containers, "_make", make)
    monkeypatch.setattr(containers, "_unmake", unmake)

    async def main() -> None:
        await containers.create(node, Create(container="c", pod="p", early=True))
        starting = asyncio.create_task(containers.start(node, C))
        await begun.wait()
        deleting = asyncio.create_task(containers.delete(node, C))
        await asyncio.sleep(0)
        go_on.set()
        async with asyncio.timeout(5):
            await deleting
        with pytest.raises(CribusError):
            await starting

    asyncio.run(main())
    assert steps == ["begun", "over"] * 2
    assert node.setups == {}


def test_an_early_answer_tells_what_failed_before_there_was_a_process(node: Node) -> None:
    fails(containers.create(node, Create(container="c", pod="p", early=True)), NotFound, "runtime-spec")
    asyncio.run(containers.delete(node, C))
    assert node.setups == {}


def test_an_ended_container(node: Node) -> None:
    state.save(node.bundle("c"), state.Record(container="c", ready=True, pid=0))
    fails(containers.start(node, C), Aborted, "was killed before it was started")
    fails(containers.update(node, Resources(container="c")), FailedPrecondition, "does not run")
    asyncio.run(containers.kill(node, Kill(container="c")))
    asyncio.run(containers.adopt(node))
