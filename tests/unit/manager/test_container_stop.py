"""StopContainer: ask, wait, insist; two witnesses; any number of times."""

import asyncio

import pytest
from cribus.api import executor
from cribus.api.cri.container import RemoveContainerRequest, StopContainerRequest
from cribus.api.cri.values import Signal
from cribus.api.verb import Empty
from cribus.errors import CribusError, DeadlineExceeded, Internal
from cribus.manager import container_remove, container_stop
from cribus.manager.records import State

from tests.unit.manager.conftest import Run, World, failing


def request(container: str, timeout: int = 0) -> StopContainerRequest:
    return StopContainerRequest(container_id=container, timeout=timeout)


def signals(world: World) -> list[int]:
    return [asked.signal for name, asked in world.asked if name == "executor.kill"]


@pytest.mark.parametrize(("obeys", "sent"), [(True, [15]), (False, [15, 9])])
def test_it_is_asked_first(world: World, run: Run, obeys: bool, sent: list[int]) -> None:
    async def story() -> None:
        world.obeys = obeys
        id = await world.running(await world.pod())
        await container_stop.stop(world.node, request(id, 1))
        record = world.node.records.containers[id]
        assert signals(world) == sent
        assert (record.state, record.exit_code) == (State.EXITED, 128 + sent[-1])
        assert record.started_at <= record.finished_at

    run(story())


@pytest.mark.parametrize("failure", [Internal("runtime kill: no"), DeadlineExceeded("runtime kill hung")])
def test_a_runtime_that_cannot_even_ask_keeps_no_container(world: World, run: Run, failure: CribusError) -> None:
    async def story() -> None:
        kill = world.executor_kill

        def broken(request: executor.Kill) -> Empty:
            if request.signal != 9:
                raise failure
            return kill(request)

        world.executor_kill = broken  # type: ignore[method-assign]
        id = await world.running(await world.pod())
        await container_stop.stop(world.node, request(id, 1))
        assert signals(world) == [15, 9]
        assert world.node.records.containers[id].state is State.EXITED

    run(story())


def test_who_stops_it_meanwhile_does_not_ask_again(world: World, run: Run) -> None:
    async def story() -> None:
        world.obeys = False
        id = await world.running(await world.pod())
        await asyncio.gather(*(container_stop.stop(world.node, request(id, 1)) for _ in range(3)))
        assert signals(world).count(15) == 1
        assert world.node.records.containers[id].state is State.EXITED

    run(story())


def test_without_time_it_is_killed(world: World, run: Run) -> None:
    async def story() -> None:
        id = await world.running(await world.pod())
        await container_stop.stop(world.node, request(id))
        assert signals(world) == [9]

    run(story())


def test_its_own_stop_signal(world: World, run: Run) -> None:
    async def story() -> None:
        id = await world.running(await world.pod(), stop_signal=Signal.SIGNAL_SIGQUIT)
        await container_stop.stop(world.node, request(id, 5))
        assert signals(world) == [3]

    run(story())


def test_the_executor_is_the_second_witness(world: World, run: Run) -> None:
    async def story() -> None:
        world.silent = True
        id = await world.running(await world.pod())
        await container_stop.stop(world.node, request(id, 1))
        assert world.node.records.containers[id].exit_code == 143

    run(story())


def test_one_that_ended_unseen_gets_its_true_code(world: World, run: Run) -> None:
    async def story() -> None:
        world.silent = True
        id = await world.running(await world.pod())
        world.exit(id, 7)
        await container_stop.stop(world.node, request(id, 5))
        assert world.node.records.containers[id].exit_code == 7

    run(story())


def test_stopped_created_and_unknown_are_stopped(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        id, idle = await world.running(pod), await world.created(pod, "idle")
        for container in (id, id, idle, "f" * 64):
            await container_stop.stop(world.node, request(container))
        assert world.node.records.containers[idle].state is State.CREATED

    run(story())


def test_two_stops_and_a_removal_at_once(world: World, run: Run) -> None:
    async def story() -> None:
        world.obeys = False
        id = await world.running(await world.pod())
        slow = asyncio.ensure_future(container_stop.stop(world.node, request(id, 15)))
        await world.asked_for("executor.kill")
        await container_stop.stop(world.node, request(id, 0))
        await container_remove.remove(world.node, RemoveContainerRequest(container_id=id))
        await slow
        assert not world.node.records.containers

    run(story())


def test_what_cannot_be_killed_says_so(world: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_stop, "_AFTER_KILL", (0.01, 0.01))
    world.obeys = world.mortal = False

    async def story() -> None:
        id = await world.running(await world.pod())
        error = await failing(container_stop.stop(world.node, request(id)))
        assert isinstance(error, DeadlineExceeded)
        assert world.node.records.containers[id].state is State.STOPPING

    run(story())


def test_end_is_idempotent(world: World, run: Run) -> None:
    async def story() -> None:
        id = await world.running(await world.pod())
        record = world.node.records.containers[id]
        for _ in range(2):
            await container_stop.end(world.node, record)
        assert not any([world.states, world.taken])
        assert world.node.records.containers[id].state is State.EXITED

    run(story())
