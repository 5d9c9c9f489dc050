"""After the manager, the store or the host was killed: records and what runs agree again."""

import asyncio
from typing import Any

import msgspec
import pytest
from cribus.api import events, executor, shimd
from cribus.api.cri.sandbox import StopPodSandboxRequest
from cribus.errors import Internal, Unavailable
from cribus.manager import sandbox_stop
from cribus.manager.reconcile import reconcile
from cribus.manager.records import Container, Records, Sandbox, State

from tests.unit.manager.conftest import Run, World, delete, failing, listed, make, overwrite, read


async def again(world: World) -> Records:
    """The manager is killed and starts."""
    node = await world.restart()
    rest = await reconcile(node)
    await rest()
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
        world.fail["executor.delete_pod"] = [Internal("it hangs")]
        records = await again(world)
        assert sorted(records.sandboxes[pod].state for pod in (one, two)) == [State.NOTREADY, State.STOPPING]
        await again(world)
        assert not world.runs()

    run(story())


def test_a_pod_that_failed_and_could_not_be_undone_is_undone_later(world: World, run: Run) -> None:
    async def story() -> None:
        world.fail["shimd.start_shim"] = [Unavailable("away")]
        world.fail["executor.delete_pod"] = [Internal("it hangs")]
        await failing(world.pod())
        assert len(world.node.records.sandboxes) == 1
        records = await again(world)
        assert not records.sandboxes
        assert world.clean()

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


def test_many_shims_that_start_anyway_cost_one_word(world: World, run: Run) -> None:
    """The sign that the manager answers; 500 calls would cost as much as 500 shims."""

    async def story() -> None:
        pods = [await world.pod(f"pod-{k}") for k in range(20)]
        world.answers["shimd.list_shims"] = lambda request: shimd.Shims(pids={}, waiting=pods)
        world.asked.clear()
        await again(world)
        assert [request.pod for name, request in world.asked if name == "shimd.start_shim"] == [pods[0]]

    run(story())


def test_what_can_be_seen_does_not_wait_for_shims(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        world.shims.clear()
        node = await world.restart()
        rest = await reconcile(node)
        assert node.records.sandboxes[pod].state is State.READY
        assert not world.shims
        await rest()
        assert set(world.shims) == {pod}

    run(story())


def test_what_no_shim_knows_of_is_taken_again(world: World, run: Run) -> None:
    """Also what has ended since: its last words may still be in its pipes. Not what was never started."""

    async def story() -> None:
        pod = await world.pod()
        id, idle, over = await world.running(pod), await world.created(pod, "idle"), await world.running(pod, "over")
        known = await world.running(pod, "known")
        overwrite("{}", world.node.container_dir(known), "take.json")
        world.silent = True
        world.exit(over, 3)
        world.asked.clear()
        await again(world)
        taken = [request.container for name, request in world.asked if name == "shim.take"]
        assert sorted(taken) == sorted([id, over])
        assert idle not in taken

    run(story())


def test_a_shim_that_is_just_coming_up_takes_it_too(world: World, run: Run) -> None:
    """On a busy machine that takes longer than a call waits for one process among many."""

    async def story() -> None:
        id = await world.running(await world.pod())
        world.taken.clear()
        world.asked.clear()
        world.fail["shim.take"] = [Unavailable("nobody serves it"), Unavailable("nobody serves it")]
        await again(world)
        assert set(world.taken) == {id}
        assert [name for name in world.names() if name.startswith("shim")][-4:] == [
            "shimd.start_shim",
            *["shim.take"] * 3,
        ]

    run(story())


def test_a_shim_that_is_started_anew_is_told_what_there_is(world: World, run: Run) -> None:
    """It cannot know that there was one before it, and that what is noted as taken was taken by that one."""

    async def story() -> None:
        pod = await world.pod()
        id, idle = await world.running(pod), await world.created(pod, "idle")
        overwrite("{}", world.node.container_dir(id), "take.json")
        world.shims.clear()
        world.taken.clear()
        await again(world)
        assert set(world.taken) == {id}
        assert idle not in world.taken

    run(story())


def test_nobody_is_asked_to_take_what_is_in_a_pod_that_was_stopped(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        id = await world.running(pod)
        world.exit(id, 0)
        await asyncio.gather(*world.later)
        state = world.states[id]
        await sandbox_stop.stop(world.node, StopPodSandboxRequest(pod_sandbox_id=pod))
        world.states[id] = state  # of a pod that could not be stopped to the end, say
        world.asked.clear()
        await again(world)
        assert "shim.take" not in world.names()
        assert pod not in world.shims

    run(story())


def test_files_that_were_lost_or_spoilt_are_made_again(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        id, idle = await world.running(pod), await world.created(pod, "idle")
        specs = [world.node.kept.spec(one) for one in (id, idle)]
        delete(world.node.pod_dir(pod), "hosts")
        delete(world.node.container_dir(id), "config.json")
        overwrite('{"cut', world.node.container_dir(idle), "config.json")
        await again(world)
        assert "hosts" in listed(world.node.pod_dir(pod))
        assert [read(world.node.container_dir(one), "config.json") for one in (id, idle)] == specs

    run(story())


def test_a_copy_that_was_lost_is_made_again(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        id = await world.running(pod)
        spec = world.node.kept.spec(id)
        for one in (pod, id):
            world.node.kept.drop(one)
        await again(world)
        assert world.node.kept.ids() == sorted([pod, id])
        assert world.node.kept.spec(id) == spec

    run(story())


def test_how_one_ended_outlives_its_keeper_and_the_records(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        id = await world.running(pod)
        world.exit(id, 9)
        await asyncio.gather(*world.later)
        await sandbox_stop.to_not_ready(world.node, world.node.records.sandboxes[pod])
        world.store.data.clear()
        records = await again(world)
        assert (records.containers[id].state, records.containers[id].exit_code) == (State.EXITED, 9)
        assert records.sandboxes[pod].state is State.NOTREADY

    run(story())


def test_a_pod_whose_container_runs_is_there_whatever_its_directory_says(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        id = await world.running(pod)
        world.pods.clear()
        records = await again(world)
        assert records.sandboxes[pod].state is State.READY
        assert records.containers[id].state is State.RUNNING

    run(story())


def test_a_directory_that_outlived_the_boot_is_no_pod(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        id = await world.running(pod)
        world.exit(id, 0)
        world.states[id] = executor.State(container=id, pod=pod, status="stopped")
        world.answers["executor.states"] = lambda request: executor.States(
            containers=list(world.states.values()), pods=[pod], dead=[pod]
        )
        records = await again(world)
        assert records.sandboxes[pod].state is State.NOTREADY
        assert not world.runs()

    run(story())
