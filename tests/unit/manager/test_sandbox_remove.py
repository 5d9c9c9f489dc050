"""RemovePodSandbox leaves nothing, whatever the pod was."""

import pytest
from cribus.api import events
from cribus.api.cri.sandbox import RemovePodSandboxRequest, StopPodSandboxRequest
from cribus.errors import Unavailable
from cribus.manager import sandbox_remove, sandbox_stop
from cribus.manager.records import State

from tests.unit.manager.conftest import Run, World, failing


def request(pod: str) -> RemovePodSandboxRequest:
    return RemovePodSandboxRequest(pod_sandbox_id=pod)


@pytest.mark.parametrize("stopped", [False, True])
def test_nothing_is_left(world: World, run: Run, stopped: bool) -> None:
    async def story() -> None:
        pod = await world.pod()
        await world.running(pod, "a")
        await world.created(pod, "b")
        if stopped:
            await sandbox_stop.stop(world.node, StopPodSandboxRequest(pod_sandbox_id=pod))
        await sandbox_remove.remove(world.node, request(pod))
        assert world.clean()
        assert world.kinds()[-1] == events.SANDBOX_REMOVED
        assert world.kinds().count(events.CONTAINER_REMOVED) == 2
        await sandbox_remove.remove(world.node, request(pod))

    run(story())


def test_a_failed_removal_is_repeated(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        container = await world.running(pod)
        world.fail["images.discard"] = [Unavailable("away")]
        assert isinstance(await failing(sandbox_remove.remove(world.node, request(pod))), Unavailable)
        assert world.node.records.containers[container].state is State.REMOVING
        await sandbox_remove.remove(world.node, request(pod))
        assert world.clean()

    run(story())
