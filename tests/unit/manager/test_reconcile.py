"""After the manager, the store or the host was killed: records and what runs agree again."""

import asyncio
from typing import Any

import msgspec
import pytest
from cribus.api import events
from cribus.errors import Unavailable
from cribus.manager import sandbox_stop
from cribus.manager.reconcile import reconcile
from cribus.manager.records import Container, Records, Sandbox, State

from tests.unit.manager.conftest import Run, World, failing, listed, make, overwrite


async def again(world: World) -> Records:
    """The manager is killed and starts."""
    node = await world.restart()
    await reconcile(node)
    return node.records


async def put(world: World, record: Sandbox | Container, **fields: Any) -> None:
    """The state in which a kill left a record."""
    await world.node.records.put(msgspec.structs.replace(record, **fields))


def test_what_runs_goes_on(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        id, idle = await world.running(pod), await world.created(pod, "idle")
        before = dict(world.store.data)
        records = await again(world)
        assert world.store.data == before
        assert records.containers[id].state is State.RUNNING
        assert records.containers[idle].state is State.CREATED
        assert world.layers == {id, idle}
        assert set(world.network.attached) == {pod}

    run(story())


def test_what_a_killed_manager_had_paused_goes_on(world: World, run: Run) -> None:
    async def story() -> None:
        id = await world.running(await world.pod())
        world.set(id, status="paused")
        records = await again(world)
        assert records.containers[id].state is State.RUNNING
        await world.asked_for("executor.resume")

    run(story())


def test_an_exit_meanwhile_has_its_true_code(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        id = await world.running(pod)
        world.silent = True
        world.exit(id, 42)
        records = await again(world)
        assert (records.containers[id].state, records.containers[id].exit_code) == (State.EXITED, 42)

    run(story())


def test_an_exit_that_nobody_saw_says_so(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        id = await world.running(pod)
        del world.states[id]
        record = (await again(world)).containers[id]
        assert (record.state, record.exit_code, record.reason) == (State.EXITED, 255, "Unknown")

    run(story())


def test_after_a_reboot_pods_are_not_ready(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        id = await world.running(pod)
        for gone in (world.pods, world.states, world.shims, world.taken):
            gone.clear()
        records = await again(world)
        assert records.sandboxes[pod].state is State.NOTREADY
        assert records.containers[id].state is State.EXITED
        assert not world.runs()

    run(story())


def test_an_empty_store_ends_nothing(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod("pod", hostname="web")
        id, idle, over = await world.running(pod), await world.created(pod, "idle"), await world.running(pod, "over")
        world.silent = True
        world.exit(over, 9)
        world.store.data.clear()
        records = await again(world)
        sandbox = records.sandboxes[pod]
        assert (sandbox.state, sandbox.ips, sandbox.config.hostname) == (State.READY, ["10.0.0.2"], "web")
        states = [records.containers[one].state for one in (id, idle, over)]
        assert states == [State.RUNNING, State.CREATED, State.EXITED]
        assert records.containers[over].exit_code == 9
        assert records.containers[id].log_path == "/logs/pod/main.log"
        assert world.states[id].status == "running"
        assert await failing(world.pod("pod"))  # its name is its own again

    run(story())


def test_what_has_neither_record_nor_copy_is_torn_down(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        id = await world.running(pod)
        world.node.kept.drop(pod)
        overwrite("{", world.settings.root, "kept", f"{id}.json")
        world.store.data.clear()
        await again(world)
        assert world.clean()

    run(story())


@pytest.mark.parametrize("state", [State.CREATING, State.STOPPING, State.REMOVING])
def test_a_half_done_pod_is_finished(world: World, run: Run, state: State) -> None:
    async def story() -> None:
        pod = await world.pod()
        await put(world, world.node.records.sandboxes[pod], state=state)
        records = await again(world)
        if state is State.STOPPING:
            assert records.sandboxes[pod].state is State.NOTREADY
            assert not world.runs()
        else:
            assert world.clean()

    run(story())


@pytest.mark.parametrize("state", [State.CREATING, State.REMOVING])
def test_a_half_done_container_is_finished(world: World, run: Run, state: State) -> None:
    async def story() -> None:
        pod = await world.pod()
        id = await world.created(pod)
        await put(world, world.node.records.containers[id], state=state)
        records = await again(world)
        assert not records.containers
        assert not world.layers
        assert records.sandboxes[pod].state is State.READY

    run(story())


@pytest.mark.parametrize(
    ("seen", "state", "code"),
    [
        ("created", State.CREATED, 0),
        ("", State.CREATED, 0),
        ("running", State.RUNNING, 0),
        ("stopped", State.EXITED, 5),
    ],
)
def test_a_start_that_was_cut_short(world: World, run: Run, seen: str, state: State, code: int) -> None:
    async def story() -> None:
        pod = await world.pod()
        id = await world.running(pod)
        await put(world, world.node.records.containers[id], state=State.STARTING, pid=0)
        if not seen:
            del world.states[id]
        elif seen == "stopped":
            world.silent = True
            world.exit(id, 5)
        else:
            world.set(id, status=seen, started_at=0 if seen == "created" else 5)
        records = await again(world)
        assert (records.containers[id].state, records.containers[id].exit_code) == (state, code)
        assert (id in world.states) == (seen in ("running", "stopped"))
        assert "config.json" in listed(world.node.container_dir(id))

    run(story())


def test_missing_shims_start_and_stray_ones_stop(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        world.shims = {"f" * 64: 5}
        await again(world)
        assert set(world.shims) == {pod}

    run(story())


def test_layers_and_volumes_of_nobody_go(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        id = await world.created(pod)
        for folder in ("images/containers", "volumes"):
            for name in (id, "f" * 64):
                make(world.settings.root, folder, name)
        world.layers.add("f" * 64)
        await again(world)
        assert world.layers == {id}
        assert listed(world.settings.root, "volumes") == [id]

    run(story())


def test_recent_news_are_told_again_word_for_word(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        await world.running(pod)
        first = [(event.kind, event.id, event.at) for event in world.told]
        assert len(first) == 3  # those before the present state too: none may be lost with its sender
        world.told.clear()
        await again(world)
        assert [(event.kind, event.id, event.at) for event in world.told] == first

    run(story())


def test_one_that_fails_hinders_no_other(world: World, run: Run) -> None:
    async def story() -> None:
        one, two = await world.pod("one"), await world.pod("two")
        for pod in (one, two):
            await put(world, world.node.records.sandboxes[pod], state=State.STOPPING)
        world.fail["executor.delete_pod"] = [Unavailable("away")]
        records = await again(world)
        assert sorted(records.sandboxes[pod].state for pod in (one, two)) == [State.NOTREADY, State.STOPPING]
        await again(world)
        assert not world.runs()

    run(story())


def test_a_pod_that_failed_and_could_not_be_undone_is_undone_later(world: World, run: Run) -> None:
    async def story() -> None:
        world.fail["shimd.start_shim"] = [Unavailable("away")]
        world.fail["executor.delete_pod"] = [Unavailable("away")]
        await failing(world.pod())
        records = await again(world)
        (left,) = records.sandboxes.values()
        assert (left.state, left.torn) == (State.NOTREADY, True)

    run(story())


def test_a_kill_at_every_write_of_a_pods_life(world: World, run: Run) -> None:
    """Whatever the store had when the process died, a reconcile and a removal leave nothing."""

    async def story() -> None:
        pod = await world.pod()
        await world.running(pod)
        moments: list[dict[str, bytes]] = []
        real = world.store.put

        async def put(key: str, value: bytes) -> int:
            moments.append(dict(world.store.data))
            return await real(key, value)

        world.store.put = put  # type: ignore[method-assign]
        await sandbox_stop.to_not_ready(world.node, world.node.records.sandboxes[pod])
        del world.store.put
        for moment in moments:
            world.store.data = dict(moment)
            records = await again(world)
            assert records.sandboxes[pod].state is State.NOTREADY
            assert not world.runs()
        await asyncio.gather(*world.later)
        assert events.SANDBOX_STOPPED in world.node.records.sandboxes[pod].told

    run(story())
