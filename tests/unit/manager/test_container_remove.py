"""RemoveContainer: from every state."""

import pytest
from cribus.api import events
from cribus.api.cri.container import RemoveContainerRequest
from cribus.errors import CribusError, DeadlineExceeded, Unavailable
from cribus.manager import container_remove
from cribus.manager.records import State

from tests.unit.manager.conftest import Run, World, failing


def request(container: str) -> RemoveContainerRequest:
    return RemoveContainerRequest(container_id=container)


@pytest.mark.parametrize("state", ["created", "running", "exited"])
def test_nothing_of_it_is_left(world: World, run: Run, state: str) -> None:
    async def story() -> None:
        pod = await world.pod()
        id = await (world.created(pod) if state == "created" else world.running(pod))
        if state == "exited":
            world.exit(id, 0)
        await container_remove.remove(world.node, request(id))
        assert not any([world.states, world.taken, world.layers, world.node.records.containers])
        assert list(world.store.data) == [f"sandboxes.{pod}"]
        assert world.kinds()[-1] == events.CONTAINER_REMOVED
        await container_remove.remove(world.node, request(id))
        await world.created(pod)  # the name is free

    run(story())


def test_a_failed_removal_goes_on_where_it_was(world: World, run: Run) -> None:
    async def story() -> None:
        id = await world.running(await world.pod())
        world.fail["executor.delete"] = [Unavailable("away")]
        await failing(container_remove.remove(world.node, request(id)))
        assert world.node.records.containers[id].state is State.REMOVING
        await container_remove.remove(world.node, request(id))
        assert not world.node.records.containers
        assert world.kinds().count(events.CONTAINER_REMOVED) == 1

    run(story())


@pytest.mark.parametrize("error", [Unavailable("nobody serves it"), DeadlineExceeded("it died, or hangs")])
def test_a_shim_that_is_gone_is_no_hindrance(world: World, run: Run, error: CribusError) -> None:
    async def story() -> None:
        id = await world.running(await world.pod())
        world.fail["shim.release"] = [error]
        await container_remove.remove(world.node, request(id))
        assert not world.node.records.containers

    run(story())
