"""The tables, and that one change is one revision and one event."""

import asyncio

import pytest
from cribus.api import events
from cribus.errors import FailedPrecondition, NotFound, Unavailable
from cribus.manager import lifecycle
from cribus.manager.records import Container, Sandbox, State

from tests.unit.manager.conftest import Run, World, failing

POD = Sandbox(id="p", name="n")
BOX = Container(id="c", pod="p", name="m")


@pytest.mark.parametrize("table", [lifecycle.SANDBOX, lifecycle.CONTAINER])
def test_every_state_can_be_removed_and_none_comes_back(table: dict[State, tuple[State, ...]]) -> None:
    assert all(State.REMOVING in arrows for arrows in table.values())
    assert table[State.REMOVING] == (State.REMOVING,)
    assert all(to in table for arrows in table.values() for to in arrows)


def test_one_change_is_one_revision_and_one_event(world: World, run: Run) -> None:
    async def story() -> None:
        await lifecycle.begin(world.node, POD)
        ready = await lifecycle.move(world.node, POD, State.READY, ips=["10.0.0.1"])
        assert world.store.revisions == 2
        assert [(event.kind, event.id, event.at) for event in world.told] == [
            (events.SANDBOX_READY, "p", ready.changed_at)
        ]
        assert world.node.records.sandboxes["p"].ips == ["10.0.0.1"]

    run(story())


def test_no_arrow_no_change(world: World, run: Run) -> None:
    async def story() -> None:
        await lifecycle.begin(world.node, BOX)
        error = await failing(lifecycle.move(world.node, BOX, State.RUNNING))
        assert isinstance(error, FailedPrecondition)
        assert error.message == "container c is creating: it cannot become running"
        assert isinstance(await failing(lifecycle.move(world.node, POD, State.READY)), NotFound)
        assert not world.told

    run(story())


def test_it_starts_from_the_latest_state_not_from_what_the_caller_holds(world: World, run: Run) -> None:
    async def story() -> None:
        await lifecycle.begin(world.node, BOX)
        await lifecycle.move(world.node, BOX, State.CREATED, pid=1)
        after = await lifecycle.move(world.node, BOX, State.STARTING)
        assert after.pid == 1

    run(story())


def test_two_changes_at_once_are_in_line(world: World, run: Run) -> None:
    async def story() -> None:
        await lifecycle.begin(world.node, BOX)
        await lifecycle.move(world.node, BOX, State.CREATED)
        await lifecycle.move(world.node, BOX, State.STARTING)
        await asyncio.gather(
            lifecycle.move(world.node, BOX, State.RUNNING, pid=5), lifecycle.move(world.node, BOX, State.EXITED)
        )
        record = world.node.records.containers["c"]
        assert (record.state, record.pid) == (State.EXITED, 5)

    run(story())


def test_a_change_that_was_not_written_did_not_happen(world: World, run: Run) -> None:
    async def story() -> None:
        await lifecycle.begin(world.node, POD)
        world.store.away = True
        assert isinstance(await failing(lifecycle.move(world.node, POD, State.READY)), Unavailable)
        assert world.node.records.sandboxes["p"].state is State.CREATING
        assert not world.told

    run(story())


def test_gone_once(world: World, run: Run) -> None:
    async def story() -> None:
        await lifecycle.begin(world.node, BOX)
        await lifecycle.move(world.node, BOX, State.CREATED)
        for _ in range(2):
            await lifecycle.gone(world.node, BOX)
        assert world.kinds() == [events.CONTAINER_CREATED, events.CONTAINER_REMOVED]
        assert not world.store.data

    run(story())


def test_what_never_came_to_be_is_not_told_to_be_gone(world: World, run: Run) -> None:
    async def story() -> None:
        for record in (POD, BOX):
            await lifecycle.begin(world.node, record)
            await lifecycle.gone(world.node, record)
        assert not world.told

    run(story())


def test_a_removal_that_is_done_again_is_the_same_event(world: World, run: Run) -> None:
    async def story() -> None:
        await lifecycle.begin(world.node, BOX)
        await lifecycle.move(world.node, BOX, State.CREATED)
        first = await lifecycle.move(world.node, BOX, State.REMOVING)
        again = await lifecycle.move(world.node, BOX, State.REMOVING)
        assert first.changed_at == again.changed_at
        await lifecycle.gone(world.node, BOX)
        assert world.told[-1].at == first.changed_at

    run(story())


def test_a_container_is_told_to_be_created_once_also_when_its_start_was_undone(world: World, run: Run) -> None:
    async def story() -> None:
        await lifecycle.begin(world.node, BOX)
        for state in (State.CREATED, State.STARTING, State.CREATED, State.STARTING, State.RUNNING):
            await lifecycle.move(world.node, BOX, state)
        assert world.kinds() == [events.CONTAINER_CREATED, events.CONTAINER_STARTED]
        told = world.node.records.containers["c"].told
        assert {event.kind: event.at for event in world.told} == told

    run(story())


def test_the_removal_is_told_before_the_store_forgets(world: World, run: Run) -> None:
    async def story() -> None:
        await lifecycle.begin(world.node, BOX)
        await lifecycle.move(world.node, BOX, State.CREATED)
        there: list[bool] = []

        async def publish(event: events.Event) -> None:
            assert event.kind == events.CONTAINER_REMOVED
            there.append(bool(world.store.data))

        world.node.publish = publish
        await lifecycle.gone(world.node, BOX)
        assert there == [True]
        assert not world.store.data

    run(story())


def test_a_change_that_depends_is_made_on_what_is_true_by_then(world: World, run: Run) -> None:
    async def story() -> None:
        await lifecycle.begin(world.node, POD)
        await asyncio.gather(
            lifecycle.change(world.node, POD, pid=7),
            lifecycle.change_if(world.node, POD, lambda now: now.pid == 0, torn=True),
        )
        assert not world.node.records.sandboxes["p"].torn
        await lifecycle.change_if(world.node, POD, lambda now: now.pid == 7, torn=True)
        assert world.node.records.sandboxes["p"].torn
        await lifecycle.gone(world.node, POD)
        await lifecycle.change_if(world.node, POD, lambda now: True, torn=True)
        assert not world.node.records.sandboxes

    run(story())
