"""Leaving the host takes the network along, but never under a pod."""

import asyncio
from typing import Any

from cribus.api import executor
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


def test_a_pod_that_is_just_being_made_is_waited_for(world: World, run: Run) -> None:
    async def story() -> None:
        let_go, reached = asyncio.Event(), asyncio.Event()

        async def slow(verb: Any, request: Any, /, **more: Any) -> Any:
            if verb is executor.CREATE_POD:
                reached.set()
                await let_go.wait()
            return await world.call(verb, request, **more)

        world.node.call = slow
        making = asyncio.ensure_future(world.pod())
        await reached.wait()
        leaving = asyncio.ensure_future(leave.leave(world.node, Empty()))
        await asyncio.sleep(0)
        assert not world.network.removed
        let_go.set()
        await asyncio.gather(making, leaving)
        assert world.network.removed
        assert not world.node.records.sandboxes

    run(story())
