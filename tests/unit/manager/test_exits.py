"""Exits: in the record once, whoever tells first."""

import asyncio
from typing import Any

import pytest
from cribus.api import events, executor
from cribus.api.events import Event
from cribus.errors import Unavailable
from cribus.manager import exits, lifecycle
from cribus.manager.records import Container, State

from tests.unit.manager.conftest import Run, World, failing


def event(id: str, **more: Any) -> Event:
    return Event(**{"kind": events.EXITED, "id": id, "at": 2 * 10**18, **more})


@pytest.mark.parametrize(
    ("told", "code", "reason"),
    [
        ({"exit_code": 0}, 0, "Completed"),
        ({"exit_code": 2}, 2, "Error"),
        ({"exit_code": 137, "oom": True}, 137, "OOMKilled"),
        ({"exit_code": 9, "exit_known": False}, 255, "Unknown"),
    ],
)
def test_what_the_record_says(world: World, run: Run, told: dict[str, Any], code: int, reason: str) -> None:
    async def story() -> None:
        id = await world.running(await world.pod())
        await exits.took(world.node, event(id, **told))
        record = world.node.records.containers[id]
        assert (record.state, record.exit_code, record.reason, record.pid) == (State.EXITED, code, reason, 0)

    run(story())


def test_once_and_only_for_those_known(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        id, idle = await world.running(pod), await world.created(pod, "idle")
        for told in (event(id, exit_code=1), event(id, exit_code=2), event("f" * 64), event(idle)):
            await exits.took(world.node, told)
        assert world.node.records.containers[id].exit_code == 1
        assert world.node.records.containers[idle].state is State.CREATED
        assert world.kinds().count(events.CONTAINER_STOPPED) == 1

    run(story())


@pytest.mark.parametrize(("sure", "kinds"), [(False, 2), (True, 1)])
def test_an_end_that_a_shim_tells_was_a_run(world: World, run: Run, sure: bool, kinds: int) -> None:
    """Whoever started it was killed before he wrote that down; what the executor knows may be a failed start."""

    async def story() -> None:
        id = await world.created(await world.pod())
        record = world.node.records.containers[id]
        await lifecycle.move(world.node, record, State.STARTING, started_at=1)
        await exits.took(world.node, event(id, exit_code=3), sure=sure)
        assert world.node.records.containers[id].exit_code == 3
        wanted = [events.CONTAINER_STARTED, events.CONTAINER_STOPPED][-kinds:]
        assert world.kinds()[-kinds:] == wanted
        assert world.kinds().count(events.CONTAINER_STARTED) == kinds - 1

    run(story())


@pytest.mark.parametrize("starting", [False, True])
def test_the_end_of_an_earlier_try_is_not_the_containers(world: World, run: Run, starting: bool) -> None:
    async def story() -> None:
        id = await world.running(await world.pod())
        record = world.node.records.containers[id]
        assert record.pid > 1
        if starting:  # who had it made again was killed before he could write that down
            record = await lifecycle.change(world.node, record, state=State.STARTING, pid=0)
        await exits.took(world.node, event(id, exit_code=137, pid=1))
        assert world.node.records.containers[id].state is record.state
        await exits.took(world.node, event(id, exit_code=3, pid=world.states[id].pid))
        assert world.node.records.containers[id].exit_code == 3

    run(story())


def test_a_finish_is_never_before_the_start() -> None:
    record = Container(id="c", pod="p", started_at=50)
    assert exits.fields(event("c", at=10), record)["finished_at"] == 50


def test_wait_ends_with_the_exit(world: World, run: Run) -> None:
    async def story() -> None:
        id = await world.running(await world.pod())
        waiting = asyncio.ensure_future(exits.wait(world.node, id, 10))
        await asyncio.sleep(0)
        world.exit(id, 3)
        assert await waiting
        assert await exits.wait(world.node, "f" * 64, 10)

    run(story())


def test_wait_asks_the_second_witness_and_bears_its_absence(world: World, run: Run) -> None:
    async def story() -> None:
        id = await world.running(await world.pod())
        assert not await exits.wait(world.node, id, 0.01)
        world.fail["executor.state"] = [Unavailable("away")]
        assert not await exits.wait(world.node, id, 0.01)
        world.silent = True
        world.exit(id, 4)
        assert await exits.wait(world.node, id, 0.01)
        assert world.node.records.containers[id].exit_code == 4

    run(story())


def test_one_that_the_executor_does_not_know_is_over(world: World, run: Run) -> None:
    async def story() -> None:
        id = await world.running(await world.pod())
        del world.states[id]
        assert await exits.ask(world.node, id)
        assert world.node.records.containers[id].reason == "Unknown"

    run(story())


def test_news_that_was_lost_is_asked_for_soon(world: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exits, "_SOON", 0.01)

    async def story() -> None:
        id = await world.running(await world.pod())
        world.silent = True
        world.exit(id, 4)
        assert await exits.wait(world.node, id, 1000)

    run(story())


def test_an_exit_that_cannot_be_written_is_told_again(world: World, run: Run) -> None:
    async def story() -> None:
        id = await world.running(await world.pod())
        world.store.away = True
        assert isinstance(await failing(exits.took(world.node, event(id))), Unavailable)
        world.store.away = False
        await exits.took(world.node, event(id))
        assert world.node.records.containers[id].state is State.EXITED

    run(story())


def test_of_state() -> None:
    state = executor.State(container="c", pod="p", exited_at=5, exit_code=3, exit_known=True, oom=True)
    assert exits.of_state(state) == Event(kind=events.EXITED, id="c", pod="p", at=5, exit_code=3, oom=True)


def test_news_from_before_the_start_is_of_an_earlier_attempt(world: World, run: Run) -> None:
    async def story() -> None:
        id = await world.running(await world.pod())
        started = world.node.records.containers[id].started_at
        await exits.took(world.node, event(id, at=started - 1, exit_code=137))
        assert world.node.records.containers[id].state is State.RUNNING
        world.set(id, status="stopped", exit_code=3, exit_known=True, exited_at=started - 1, pid=0)  # the clock was set
        await exits.took(world.node, event(id, at=started - 1, exit_code=3))
        assert world.node.records.containers[id].exit_code == 3

    run(story())
