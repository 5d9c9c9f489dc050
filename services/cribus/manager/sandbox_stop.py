"""StopPodSandbox, and the one teardown of pods: stop, remove, failure and reconcile all use it."""

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Iterable

from cribus.api import executor, shimd
from cribus.api.cri.sandbox import StopPodSandboxRequest, StopPodSandboxResponse
from cribus.errors import NotFound
from cribus.manager import container_stop, lifecycle, podnet
from cribus.manager.insisting import insisted
from cribus.manager.node import Node
from cribus.manager.nri.events import Event
from cribus.manager.records import Sandbox, State
from cribus.steps import Step

OVER = (State.NOTREADY, State.REMOVING)
_CONTAINERS = Step("manager.teardown.containers")
_NETWORK = Step("manager.teardown.network")
_SHIM = Step("manager.teardown.shim")
_NAMESPACES = Step("manager.teardown.namespaces")
_FILES = Step("manager.teardown.files")


async def stop(node: Node, request: StopPodSandboxRequest) -> StopPodSandboxResponse:
    """End everything that runs in the pod, and free its network. A pod that is not there is stopped."""
    try:
        record = node.records.sandbox(request.pod_sandbox_id)
    except NotFound:
        return StopPodSandboxResponse()
    if record.state is State.CREATING:
        await node.names.settle(record.name)  # it ends as one that is ready, or as nothing
    async with node.locks.of(record.id):
        known = node.records.latest(record)
        if known is not None and known.state not in OVER and known.state is not State.CREATING:
            await to_not_ready(node, known)
    return StopPodSandboxResponse()


async def to_not_ready(node: Node, record: Sandbox) -> Sandbox:
    """READY or STOPPING → NOTREADY. From STOPPING on nothing new starts in the pod."""
    if record.state is State.READY:
        record = await lifecycle.move(node, record, State.STOPPING)
    await teardown(node, record)
    return await lifecycle.move(node, record, State.NOTREADY, torn=True)


async def teardown(node: Node, record: Sandbox) -> None:
    """Everything of the pod but its record and its containers' records and layers. Idempotent; every
    step is content with finding nothing. Raises the first failure, after trying what can be tried."""
    with _CONTAINERS.of(record.id):
        await _all(container_stop.end(node, one) for one in node.records.in_pod(record.id))
    if record.state is not State.CREATING:
        await node.nri.tell(Event.STOP_POD_SANDBOX, record)
    await _all((_network(node, record), _shim(node, record)))
    # Last, because the shim is found by what is in the run directory, should shimd be killed just now.
    with _NAMESPACES.of(record.id):
        parent = record.config.linux.cgroup_parent if record.config.linux else ""
        wanted = executor.DeletePod(pod=record.id, cgroup_parent=parent)
        await insisted(lambda: node.call(executor.DELETE_POD, wanted))
    with _FILES.of(record.id):
        _delete(node.pod_dir(record.id))


async def _network(node: Node, record: Sandbox) -> None:
    with _NETWORK.of(record.id):
        await podnet.detach(node, record)


async def _shim(node: Node, record: Sandbox) -> None:
    with _SHIM.of(record.id):
        await insisted(lambda: node.call(shimd.STOP_SHIM, shimd.StopShim(pod=record.id)))


def _delete(folder: str) -> None:
    """What the executor left of the run directory; it deletes beside us."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


async def _all(steps: Iterable[Awaitable[object]]) -> None:
    """Side by side, each to its end. Raises the first failure."""
    for outcome in await asyncio.gather(*steps, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
