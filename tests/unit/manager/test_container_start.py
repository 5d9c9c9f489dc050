"""StartContainer: process, then its output taken, then it runs; and every way in which that fails."""

import asyncio
import json
from pathlib import Path

import pytest
from cribus import log
from cribus.api import events, executor
from cribus.api.cri.container import StartContainerRequest, StartContainerResponse
from cribus.api.cri.sandbox import StopPodSandboxRequest
from cribus.api.verb import Empty
from cribus.errors import Aborted, CribusError, DeadlineExceeded, FailedPrecondition, NotFound, Unavailable
from cribus.manager import container_start, exits, insisting, sandbox_stop
from cribus.manager.nri.events import Event
from cribus.manager.records import Container, State

from tests.unit.manager.conftest import Run, World, as_request, failing


def request(container: str) -> StartContainerRequest:
    return StartContainerRequest(container_id=container)


def test_it_runs_and_its_output_is_taken(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        id = await world.created(pod)
        before = world.store.revisions
        await container_start.start(world.node, request(id))
        record = world.node.records.containers[id]
        assert (record.state, record.pid) == (State.RUNNING, 100)
        assert record.created_at < record.started_at
        assert world.names()[-3] == "executor.create"
        assert set(world.names()[-2:]) == {"executor.start", "shim.take"}
        assert world.store.revisions == before + 2
        assert world.kinds()[-1] == events.CONTAINER_STARTED

    run(story())


def test_the_record_says_starting_before_it_can_run(world: World, run: Run) -> None:
    seen: list[State] = []

    def start(named: executor.Named) -> Empty:
        seen.append(world.node.records.containers[named.container].state)
        return world.executor_start(named)

    world.answers["executor.start"] = start

    async def story() -> None:
        await world.running(await world.pod())

    run(story())
    assert seen == [State.STARTING]


@pytest.mark.parametrize("step", ["executor.create", "shim.take", "executor.start"])
def test_what_cannot_start_has_exited(world: World, run: Run, step: str) -> None:
    async def story() -> None:
        pod = await world.pod()
        id = await world.created(pod)
        world.fail[step] = [NotFound("/no/such/program: no such file or directory")]
        error = await failing(container_start.start(world.node, request(id)))
        assert "/no/such/program" in error.message
        record = world.node.records.containers[id]
        assert (record.state, record.exit_code, record.reason) == (State.EXITED, 128, "StartError")
        assert record.message == error.message
        assert world.kinds()[-1] == events.CONTAINER_STOPPED
        assert not any([world.states, world.taken])
        assert isinstance(await failing(container_start.start(world.node, request(id))), FailedPrecondition)

    run(story())


def test_when_the_executor_was_away_it_can_be_started_again(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        id = await world.created(pod)
        world.fail["executor.create"] = [Unavailable("nobody serves it")]
        assert isinstance(await failing(container_start.start(world.node, request(id))), Unavailable)
        assert world.node.records.containers[id].state is State.CREATED
        await container_start.start(world.node, request(id))
        assert world.node.records.containers[id].state is State.RUNNING

    run(story())


@pytest.mark.parametrize("step", ["shim.take", "executor.start"])
@pytest.mark.parametrize("error", [Unavailable("the bus is away"), DeadlineExceeded("it may have happened")])
def test_what_may_run_already_is_not_run_again_because_somebody_was_away(
    world: World, run: Run, step: str, error: CribusError
) -> None:
    async def story() -> None:
        id = await world.created(await world.pod())
        world.fail[step] = [error, error]
        await container_start.start(world.node, request(id))
        assert world.node.records.containers[id].state is State.RUNNING
        assert world.names().count(step) == 3
        assert world.names().count("executor.create") == 1
        assert "executor.delete" not in world.names()

    run(story())


def test_somebody_who_stays_away_is_given_up(world: World, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(insisting, "_PATIENCE", 0.0)

    async def story() -> None:
        id = await world.created(await world.pod())
        world.fail["shim.take"] = [Unavailable("nobody serves it")] * 100
        assert isinstance(await failing(container_start.start(world.node, request(id))), Unavailable)
        assert world.node.records.containers[id].state is State.CREATED

    run(story())


def test_a_store_that_is_away_stops_the_start(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        id = await world.created(pod)
        world.store.away = True
        assert isinstance(await failing(container_start.start(world.node, request(id))), Unavailable)
        assert "executor.start" not in world.names()
        world.store.away = False
        await container_start.start(world.node, request(id))

    run(story())


def _ends_at_once(world: World) -> None:
    """Every container: with 3, while the executor starts it."""

    def start(named: executor.Named) -> Empty:
        world.executor_start(named)
        world.exit(named.container, 3)
        return Empty()

    world.answers["executor.start"] = start


def test_an_exit_during_the_start_comes_after_it(world: World, run: Run) -> None:
    _ends_at_once(world)

    async def story() -> None:
        id = await world.running(await world.pod())
        await asyncio.gather(*world.later)
        record = world.node.records.containers[id]
        assert (record.state, record.exit_code, record.reason) == (State.EXITED, 3, "Error")
        assert world.kinds()[-2:] == [events.CONTAINER_STARTED, events.CONTAINER_STOPPED]

    run(story())


def test_an_exit_that_two_witnesses_tell_while_plugins_hear_of_the_start(world: World, run: Run) -> None:
    _ends_at_once(world)

    async def story() -> None:
        async def tell(event: Event, record: Container) -> None:
            if event is Event.POST_START_CONTAINER:
                await exits.ask(world.node, record.id)

        world.node.nri.tell = tell  # type: ignore[assignment, method-assign]
        id = await world.running(await world.pod())
        assert world.node.records.containers[id].exit_code == 3
        assert world.kinds().count(events.CONTAINER_STOPPED) == 1

    run(story())


def test_the_exit_of_a_failed_start_is_not_a_run(world: World, run: Run) -> None:
    def start(named: executor.Named) -> Empty:
        world.exit(named.container, 127)
        raise NotFound("no such file")

    world.answers["executor.start"] = start

    async def story() -> None:
        pod = await world.pod()
        id = await world.created(pod)
        await failing(container_start.start(world.node, request(id)))
        await asyncio.gather(*world.later)
        assert world.node.records.containers[id].reason == "StartError"
        assert events.CONTAINER_STARTED not in world.kinds()

    run(story())


def test_a_repeat_after_a_lost_answer_succeeds(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        id = await world.created(pod)
        await as_request("r1", lambda: container_start.start(world.node, request(id)))
        await world.restart()
        await as_request("r1", lambda: container_start.start(world.node, request(id)))

    run(story())


def test_who_asks_again_while_it_runs_has_the_answer_that_the_first_one_may_have_missed(world: World, run: Run) -> None:
    async def story() -> None:
        id = await world.created(await world.pod())
        for name in ("first", "second"):
            with log.ids(caller=name):
                await as_request(name, lambda: container_start.start(world.node, request(id)))
        with log.ids(caller="first"):
            await container_start.unheard(world.node, StartContainerResponse())
        await _over(world, id)
        error = await failing(as_request("third", lambda: container_start.start(world.node, request(id))))
        assert isinstance(error, FailedPrecondition)

    run(story())


async def _over(world: World, id: str) -> None:
    world.exit(id, 0)
    await asyncio.gather(*world.later)
    assert world.node.records.containers[id].state is State.EXITED


def test_one_that_runs_is_started_whoever_asks(world: World, run: Run) -> None:
    """The first one's answer may have left just when he gave up. What has ended cannot be started again."""

    async def story() -> None:
        id = await world.created(await world.pod())
        for name in ("r1", "r2"):
            await as_request(name, lambda: container_start.start(world.node, request(id)))
        assert world.names().count("executor.start") == 1
        await _over(world, id)
        error = await failing(as_request("r3", lambda: container_start.start(world.node, request(id))))
        assert isinstance(error, FailedPrecondition)

    run(story())


def test_it_succeeds_for_whoever_asks_after_the_answer_died_with_the_gateway(world: World, run: Run) -> None:
    async def nobody(subject: str) -> bool:
        assert subject == "inbox.gone"
        return False

    async def story() -> None:
        id = await world.created(await world.pod())
        with log.ids(caller="inbox.gone"):
            await as_request("r1", lambda: container_start.start(world.node, request(id)))
        await _over(world, id)
        world.node.listened = nobody
        await as_request("r2", lambda: container_start.start(world.node, request(id)))

    run(story())


def test_whoever_asks_after_one_who_gave_up_succeeds_once(world: World, run: Run) -> None:
    async def story() -> None:
        id = await world.created(await world.pod())

        async def asked(name: str) -> None:
            with log.ids(caller=name):
                await as_request(name, lambda: container_start.start(world.node, request(id)))

        await asked("first")
        await _over(world, id)
        assert isinstance(await failing(asked("second")), FailedPrecondition)
        with log.ids(caller="first"):
            await container_start.unheard(world.node, StartContainerResponse())
        await asked("second")
        assert world.names().count("executor.start") == 1
        assert isinstance(await failing(asked("third")), FailedPrecondition)

    run(story())


def test_not_in_a_pod_that_is_stopped(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        id = await world.created(pod)
        await sandbox_stop.stop(world.node, StopPodSandboxRequest(pod_sandbox_id=pod))
        assert isinstance(await failing(container_start.start(world.node, request(id))), FailedPrecondition)
        assert isinstance(await failing(container_start.start(world.node, request("f" * 64))), NotFound)

    run(story())


@pytest.mark.parametrize("step", ["executor.create", "shim.take", "executor.start"])
def test_what_was_killed_on_its_way_has_a_successor(world: World, run: Run, step: str) -> None:
    async def story() -> None:
        id = await world.created(await world.pod())
        world.fail[step] = [Aborted("it was killed")]
        await container_start.start(world.node, request(id))
        assert world.node.records.containers[id].state is State.RUNNING
        assert world.names().count("executor.create") == 2

    run(story())


def test_what_is_killed_again_and_again_is_as_it_was(world: World, run: Run) -> None:
    async def story() -> None:
        id = await world.created(await world.pod())
        world.fail["executor.create"] = [Aborted("it was killed")] * 3
        assert isinstance(await failing(container_start.start(world.node, request(id))), Aborted)
        assert world.node.records.containers[id].state is State.CREATED

    run(story())


def test_a_manager_killed_while_it_undid_a_start_has_lost_no_spec(world: World, run: Run) -> None:
    async def story() -> None:
        id = await world.created(await world.pod())
        path = Path(world.node.container_dir(id)) / "config.json"
        before = json.loads(path.read_bytes())["process"]
        path.unlink()
        await container_start.as_created(world.node, world.node.records.containers[id])
        assert json.loads(path.read_bytes())["process"] == before

    run(story())
