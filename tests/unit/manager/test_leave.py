"""Leaving the host takes the network along, but never under a pod."""

from cribus.api.cri.sandbox import RemovePodSandboxRequest
from cribus.api.verb import Empty
from cribus.errors import FailedPrecondition
from cribus.manager import leave, sandbox_remove

from tests.unit.manager.conftest import Run, World, failing


def test_only_an_empty_node_leaves(world: World, run: Run) -> None:
    async def story() -> None:
        pod = await world.pod()
        assert isinstance(await failing(leave.leave(world.node, Empty())), FailedPrecondition)
        assert not world.network.removed
        await sandbox_remove.remove(world.node, RemovePodSandboxRequest(pod_sandbox_id=pod))
        await leave.leave(world.node, Empty())
        assert world.network.removed

    run(story())
