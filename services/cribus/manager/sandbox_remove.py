"""RemovePodSandbox: from every state, any number of times."""

import asyncio

from cribus.api.cri.sandbox import RemovePodSandboxRequest, RemovePodSandboxResponse
from cribus.errors import NotFound
from cribus.manager import container_remove, lifecycle, sandbox_stop
from cribus.manager.node import Node
from cribus.manager.nri.events import Event
from cribus.manager.records import Sandbox, State


async def remove(node: Node, request: RemovePodSandboxRequest) -> RemovePodSandboxResponse:
    """Remove the pod with all its containers, running or not. One that is not there is removed."""
    try:
        record = node.records.sandbox(request.pod_sandbox_id)
    except NotFound:
        return RemovePodSandboxResponse()
    if record.state is State.CREATING:
        # It ends as one that is ready or as nothing; both can be removed.
        await node.names.settle(record.name)
    async with node.locks.of(record.id):
        known = node.records.latest(record)
        if known is not None:
            await to_nothing(node, known)
    return RemovePodSandboxResponse()


async def to_nothing(node: Node, record: Sandbox) -> None:
    """Any state → removed. The caller has the pod's lock, or is alone."""
    record = await lifecycle.move(node, record, State.REMOVING)
    members = node.records.in_pod(record.id)
    outcomes = await asyncio.gather(*(container_remove.by_id(node, one.id) for one in members), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    if not record.torn:
        await sandbox_stop.teardown(node, record)
    await node.nri.tell(Event.REMOVE_POD_SANDBOX, record)
    await lifecycle.gone(node, record)
