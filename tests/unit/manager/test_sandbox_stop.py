"""StopPodSandbox and the one teardown: idempotent, in any order, from any state."""

from cribus.api import events
from cribus.api.cri.sandbox import StopPodSandboxRequest
from cribus.errors import Internal, Unavailable
from cribus.manager import sandbox_stop
from cribus.manager.records import State

from tests.unit.manager.conftest import Run, World, failing


def request(pod: str) -> StopPodSandboxRequest:
    return StopPodSandboxRequest(pod_sandbox_id=pod)


def test_everything_that_runs_ends(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        one, two, idle = await world.running(pod, "a"), await world.running(pod, "b"), await world.created(pod, "c")
        await sandbox_stop.stop(world.node, request(pod))
        records = world.node.records
        assert [records.containers[id].state for id in (one, two, idle)] == [State.EXITED, State.EXITED, State.CREATED]
        assert records.containers[one].exit_code == 137
        assert (records.sandboxes[pod].state, records.sandboxes[pod].torn) == (State.NOTREADY, True)
        assert not world.runs()
        assert world.layers == {one, two, idle}
        assert world.kinds()[-1] == events.SANDBOX_STOPPED

    run(story())


def test_the_network_goes_before_the_namespaces(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        await sandbox_stop.stop(world.node, request(pod))
        assert world.names().index("shimd.stop_shim") < world.names().index("executor.delete_pod")

    run(story())


def test_again_and_unknown_are_fine(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        await sandbox_stop.stop(world.node, request(pod))
        before = len(world.asked), len(world.told)
        await sandbox_stop.stop(world.node, request(pod))
        await sandbox_stop.stop(world.node, request("f" * 64))
        assert (len(world.asked), len(world.told)) == before

    run(story())


def test_a_failed_stop_is_repeated(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        world.fail["executor.delete_pod"] = [Internal("it hangs")]
        assert isinstance(await failing(sandbox_stop.stop(world.node, request(pod))), Internal)
        assert world.node.records.sandboxes[pod].state is State.STOPPING
        await sandbox_stop.stop(world.node, request(pod))
        assert world.node.records.sandboxes[pod].state is State.NOTREADY

    run(story())


def test_services_that_are_away_for_a_while_are_waited_for(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        for verb in ("executor.delete_pod", "shimd.stop_shim"):
            world.fail[verb] = [Unavailable("away")] * 2
        await sandbox_stop.stop(world.node, request(pod))
        assert world.node.records.sandboxes[pod].state is State.NOTREADY
        assert not world.runs()

    run(story())


def test_teardown_is_idempotent(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        await world.running(pod)
        record = world.node.records.sandboxes[pod]
        for _ in range(3):
            await sandbox_stop.teardown(world.node, record)
        assert not world.runs()

    run(story())
