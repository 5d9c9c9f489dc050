"""UpdateContainerResources and UpdatePodSandboxResources: new limits for what exists."""

import json

import msgspec

from cribus.api import executor
from cribus.api.cri import container as c
from cribus.api.cri import sandbox as s
from cribus.api.cri.security import LinuxContainerResources
from cribus.errors import FailedPrecondition, InvalidArgument
from cribus.manager import exits, lifecycle, podfiles, spec_resources
from cribus.manager.node import Node
from cribus.manager.records import Container, State


async def update(node: Node, request: c.UpdateContainerResourcesRequest) -> c.UpdateContainerResourcesResponse:
    """Set limits of a container that is created or runs; zero and empty fields change nothing.

    Raises NotFound, InvalidArgument, or FailedPrecondition for one that is over.
    """
    record = node.records.container(request.container_id)
    if request.linux is None:
        raise InvalidArgument("there is nothing to update: give linux resources")
    async with node.locks.of(record.id):
        record = node.records.container(record.id)
        if record.state not in (State.CREATED, *exits.ALIVE):
            raise FailedPrecondition(f"container {record.id} is {record.state}: its resources cannot change")
        whole = spec_resources.merged(record.resources or LinuxContainerResources(), request.linux)
        limits = spec_resources.resources(whole, node.host)
        if record.state in exits.ALIVE:
            asked = msgspec.to_builtins(spec_resources.resources(request.linux, node.host))
            await node.call(executor.UPDATE, executor.Resources(container=record.id, resources=asked))
        _write_spec(node, record, msgspec.to_builtins(limits))
        await lifecycle.change(node, record, resources=whole)
    return c.UpdateContainerResourcesResponse()


def _write_spec(node: Node, record: Container, limits: dict[str, object]) -> None:
    """The spec says what holds; a container that is not started yet is made by it."""
    path = f"{node.container_dir(record.id)}/config.json"
    with open(path, "rb") as file:
        spec = json.load(file)
    spec["linux"]["resources"].update(limits)
    podfiles.write_atomic(path, json.dumps(spec).encode(), 0o600)


async def update_pod(node: Node, request: s.UpdatePodSandboxResourcesRequest) -> s.UpdatePodSandboxResourcesResponse:
    """Remember what the pod may use. The limits of its cgroup_parent are set by who made that (the
    kubelet); nothing below it changes. Raises NotFound."""
    record = node.records.sandbox(request.pod_sandbox_id)
    async with node.locks.of(record.id):
        record = node.records.sandbox(record.id)
        linux = record.config.linux or s.LinuxPodSandboxConfig()
        linux = msgspec.structs.replace(
            linux, overhead=request.overhead or linux.overhead, resources=request.resources or linux.resources
        )
        await lifecycle.change(node, record, config=msgspec.structs.replace(record.config, linux=linux))
    return s.UpdatePodSandboxResourcesResponse()
