"""Pods that are not the storm's: what they were before, and what they are after it. It has not touched them, but
it has killed what they hang on."""

from typing import NamedTuple

from cribus.api import manager, shimd
from cribus.api.cri.container import ContainerStatusRequest, ListContainersRequest
from cribus.api.cri.sandbox import ListPodSandboxRequest
from cribus.api.cri.values import ContainerState, PodSandboxState
from cribus.api.verb import Empty
from cribus.bus.service import Bus
from cribus.cli.storm.plan import LABEL
from cribus.errors import NotFound

UNKNOWN = 255  # the exit code that is told of a container whose end nobody saw


class Others(NamedTuple):
    """Ids and names of those that run."""

    pods: dict[str, str]
    containers: dict[str, str]


async def running(bus: Bus) -> Others:
    """Everything that runs now and does not have a storm's label."""
    pods = (await bus.call(manager.LIST_SANDBOXES, ListPodSandboxRequest())).items
    theirs = {one.id: one.metadata.name if one.metadata else one.id for one in pods if LABEL not in one.labels}
    ready = {one.id for one in pods if one.state is PodSandboxState.SANDBOX_READY}
    found = (await bus.call(manager.LIST_CONTAINERS, ListContainersRequest())).containers
    alive = [one for one in found if one.pod_sandbox_id in theirs and one.state is ContainerState.CONTAINER_RUNNING]
    names = {one.id: f"{theirs[one.pod_sandbox_id]}/{one.metadata.name if one.metadata else one.id}" for one in alive}
    return Others({id: name for id, name in theirs.items() if id in ready}, names)


async def ended(bus: Bus, before: Others, now: Others) -> tuple[list[str], list[str]]:
    """(what is wrong, what happened meanwhile) of those that ran before."""
    wrong: list[str] = []
    notes: list[str] = []
    for id, name in before.containers.items():
        if id in now.containers:
            continue
        code = await _code(bus, id)
        if code is None:
            notes.append(f"{name} was removed meanwhile")
            continue
        said = f"{name} ended meanwhile, with exit code {code}; `cribus why {id[:13]}` says why"
        (wrong if code == UNKNOWN else notes).append(said)
    shims = (await bus.call(shimd.LIST_SHIMS, Empty())).pids
    wrong += [f"pod {name} has no shim" for id, name in now.pods.items() if id not in shims]
    return wrong, notes


async def _code(bus: Bus, container: str) -> int | None:
    """With which a container ended; None when it is not there any more."""
    listed = (await bus.call(manager.LIST_CONTAINERS, ListContainersRequest())).containers
    if container not in {one.id for one in listed}:
        return None
    try:
        status = (await bus.call(manager.CONTAINER_STATUS, ContainerStatusRequest(container_id=container))).status
    except NotFound:
        return None
    return status.exit_code if status else UNKNOWN
