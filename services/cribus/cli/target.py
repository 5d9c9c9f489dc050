"""Which pod or container a word of the command line means: an id, the beginning of one, or a name."""

from cribus.api import manager
from cribus.api.cri.container import Container, ListContainersRequest
from cribus.api.cri.sandbox import ListPodSandboxRequest
from cribus.api.cri.values import ContainerState
from cribus.bus.service import Bus
from cribus.errors import InvalidArgument, NotFound


async def container(bus: Bus, wanted: str) -> str:
    """The id of a container. For a pod it is its one container, or the one of several that runs.

    Raises NotFound, or InvalidArgument when it could be several.
    """
    try:
        located = await bus.call(manager.LOCATE, manager.Locate(id=wanted))
    except NotFound:
        return await _named(bus, wanted)
    return located.container or _only(await _containers(bus), {located.pod}, wanted)


async def _named(bus: Bus, wanted: str) -> str:
    """By the name of a pod, else of a container."""
    pods = (await bus.call(manager.LIST_SANDBOXES, ListPodSandboxRequest())).items
    found = await _containers(bus)
    owners = {pod.id for pod in pods if pod.metadata and pod.metadata.name == wanted}
    if owners:
        return _only(found, owners, wanted)
    return _one([one for one in found if one.metadata and one.metadata.name == wanted], wanted)


async def _containers(bus: Bus) -> list[Container]:
    return (await bus.call(manager.LIST_CONTAINERS, ListContainersRequest())).containers


def _only(found: list[Container], pods: set[str], wanted: str) -> str:
    inside = [one for one in found if one.pod_sandbox_id in pods]
    if not inside:
        raise NotFound(f"pod {wanted} has no container")
    return _one(inside, wanted)


def _one(found: list[Container], wanted: str) -> str:
    running = [one for one in found if one.state is ContainerState.CONTAINER_RUNNING]
    meant = running if len(running) == 1 else found
    if not meant:
        raise NotFound(f"there is no container or pod {wanted}; `cribus ps -a` lists them")
    if len(meant) > 1:
        names = ", ".join(f"{one.metadata.name if one.metadata else ''} {one.id[:13]}" for one in meant)
        raise InvalidArgument(f"{wanted} could be any of {names}; give an id")
    return meant[0].id
