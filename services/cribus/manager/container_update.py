"""UpdateContainerResources and UpdatePodSandboxResources: new limits for what exists."""

import asyncio
import json
from typing import Any

import msgspec

from cribus.api import executor
from cribus.api.cri import container as c
from cribus.api.cri import sandbox as s
from cribus.api.cri.security import LinuxContainerResources
from cribus.errors import Aborted, FailedPrecondition, InvalidArgument
from cribus.manager import exits, lifecycle, podfiles, spec_resources
from cribus.manager.node import Node
from cribus.manager.nri.events import Event
from cribus.manager.records import Container, State


async def update(node: Node, request: c.UpdateContainerResourcesRequest) -> c.UpdateContainerResourcesResponse:
    """Set limits of a container that is created or runs; zero and empty fields change nothing.

    Raises NotFound, InvalidArgument, or FailedPrecondition for one that is over.
    """
    record = node.records.container(request.container_id)
    if request.linux is None:
        raise InvalidArgument("there is nothing to update: give linux resources")
    _check(record)
    asked, extra = await node.nri.update(record, request.linux)
    async with node.locks.of(record.id):
        record = await _set(node, record.id, asked, extra)
    await node.nri.tell(Event.POST_UPDATE_CONTAINER, record)
    return c.UpdateContainerResourcesResponse()


async def limit(node: Node, id: str, asked: LinuxContainerResources, extra: dict[str, Any]) -> None:
    """The same at the wish of an NRI plugin; `extra` are limits for which CRI has no words.

    Raises Aborted when something else is done to the container all the while: that may be what waits for the
    very plugin.
    """
    record = node.records.container(id)
    lock = node.locks.of(record.id)
    try:
        async with asyncio.timeout(node.settings.nri.request_timeout / 2):
            await lock.acquire()
    except TimeoutError as error:
        raise Aborted(f"container {record.id} is busy with another operation; repeat") from error
    try:
        await _set(node, record.id, asked, extra)
    finally:
        lock.release()


def _check(record: Container) -> None:
    if record.state not in (State.CREATED, *exits.ALIVE):
        raise FailedPrecondition(f"container {record.id} is {record.state}: its resources cannot change")


async def _set(node: Node, id: str, asked: LinuxContainerResources, extra: dict[str, Any]) -> Container:
    """The caller has the container's lock."""
    record = node.records.container(id)
    _check(record)
    whole = spec_resources.merged(record.resources or LinuxContainerResources(), asked)
    limits = spec_resources.laid_over(spec_resources.resources(whole, node.host), extra)
    if record.state in exits.ALIVE:
        now = spec_resources.laid_over(spec_resources.resources(asked, node.host), extra)
        await node.call(executor.UPDATE, executor.Resources(container=record.id, resources=now))
    document = _write_spec(node, record, limits)
    record = await lifecycle.change(node, record, resources=whole)
    node.kept.put(record.id, msgspec.json.encode(record), document)
    return record


def _write_spec(node: Node, record: Container, limits: dict[str, Any]) -> bytes:
    """The spec says what holds; a container that is not started yet is made by it."""
    path = f"{node.container_dir(record.id)}/config.json"
    try:
        with open(path, "rb") as file:
            spec = json.load(file)
    except FileNotFoundError as error:
        raise FailedPrecondition(
            f"container {record.id} was created before the host was started and cannot run any more; remove it"
        ) from error
    spec["linux"]["resources"] = spec_resources.laid_over(spec["linux"]["resources"], limits)
    document = json.dumps(spec).encode()
    podfiles.write_atomic(path, document, 0o600)
    return document


async def update_pod(node: Node, request: s.UpdatePodSandboxResourcesRequest) -> s.UpdatePodSandboxResourcesResponse:
    """Limit the pod's own cgroup, the one below its cgroup_parent, to its resources and overhead.

    The first update does so, not RunPodSandbox: until then the limits of the cgroup_parent, which whoever
    made that (the kubelet) sets, hold alone. Raises NotFound, InvalidArgument, or FailedPrecondition for a
    pod that is not ready or uses more memory than that.
    """
    record = node.records.sandbox(request.pod_sandbox_id)
    await node.nri.update_pod(record, request.overhead, request.resources)
    async with node.locks.of(record.id):
        record = node.records.sandbox(record.id)
        if record.state is not State.READY:
            raise FailedPrecondition(f"pod {record.id} is {record.state}: its resources cannot change")
        linux = record.config.linux or s.LinuxPodSandboxConfig()
        linux = msgspec.structs.replace(
            linux, overhead=request.overhead or linux.overhead, resources=request.resources or linux.resources
        )
        whole = spec_resources.of_pod(linux.resources, linux.overhead)
        limits = msgspec.to_builtins(spec_resources.resources(whole, node.host))
        await asyncio.to_thread(node.tree.change, record.cgroup, limits)
        record = await lifecycle.change(node, record, config=msgspec.structs.replace(record.config, linux=linux))
        node.kept.put(record.id, msgspec.json.encode(record))
    await node.nri.tell(Event.POST_UPDATE_POD_SANDBOX, record)
    return s.UpdatePodSandboxResourcesResponse()
