"""Usage of containers and pods, read from their cgroups."""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cribus.api import images
from cribus.api.cri import stats as u
from cribus.cgroups import stats as cgroup_stats
from cribus.errors import CribusError
from cribus.manager import exits, paging
from cribus.manager.container_list import matches
from cribus.manager.node import Node
from cribus.manager.records import Container, Sandbox, State

_LAYER_AGE = 10.0  # seconds for which the size of a writable layer is believed
_INTERFACE = ("rx_bytes", "rx_errors", "tx_bytes", "tx_errors")
_logger = logging.getLogger(__name__)


async def container(node: Node, request: u.ContainerStatsRequest) -> u.ContainerStatsResponse:
    """Raises NotFound."""
    record = node.records.container(request.container_id)
    return u.ContainerStatsResponse(stats=(await _of_containers(node, [record]))[0])


def _fitting_containers(node: Node, request: u.ListContainerStatsRequest) -> Iterable[Container]:
    """Every container that runs and fits the filter."""
    wanted = request.filter or u.ContainerStatsFilter()
    return (
        one
        for one in node.records.containers.values()
        if one.state in exits.ALIVE
        and one.id.startswith(wanted.id)
        and one.pod.startswith(wanted.pod_sandbox_id)
        and matches(one.config.labels, wanted.label_selector)
    )


async def _telling_containers(node: Node, found: Sequence[Container]) -> u.ListContainerStatsResponse:
    _forget(node)
    return u.ListContainerStatsResponse(stats=await _of_containers(node, found))


list_containers = paging.whole(_fitting_containers, _telling_containers)
page_containers = paging.paged(_fitting_containers, _telling_containers)


async def sandbox(node: Node, request: u.PodSandboxStatsRequest) -> u.PodSandboxStatsResponse:
    """Raises NotFound."""
    return u.PodSandboxStatsResponse(stats=await _sandbox(node, node.records.sandbox(request.pod_sandbox_id)))


def _fitting_sandboxes(node: Node, request: u.ListPodSandboxStatsRequest) -> Iterable[Sandbox]:
    """Every pod that is ready and fits the filter."""
    wanted = request.filter or u.PodSandboxStatsFilter()
    return (
        one
        for one in node.records.sandboxes.values()
        if one.state is State.READY
        and one.id.startswith(wanted.id)
        and matches(one.config.labels, wanted.label_selector)
    )


async def _telling_sandboxes(node: Node, found: Sequence[Sandbox]) -> u.ListPodSandboxStatsResponse:
    _forget(node)
    return u.ListPodSandboxStatsResponse(stats=list(await asyncio.gather(*(_sandbox(node, one) for one in found))))


list_sandboxes = paging.whole(_fitting_sandboxes, _telling_sandboxes)
page_sandboxes = paging.paged(_fitting_sandboxes, _telling_sandboxes)


async def _of_containers(node: Node, found: Sequence[Container]) -> list[u.ContainerStats]:
    sizes = await asyncio.gather(*(layer(node, one.id) for one in found))
    seen = await _seen(node, [one for one in found if one.state in exits.ALIVE])
    return [_container(node, one, (size, seen.get(one.id))) for one, size in zip(found, sizes, strict=True)]


class _Usage(NamedTuple):
    """What a cgroup had used, and when (ns since the epoch)."""

    at: int
    read: cgroup_stats.Stats


async def _seen(node: Node, found: Sequence[Container | Sandbox]) -> dict[str, _Usage]:
    """By id. Hundreds of files for a few dozen containers: other requests go on meanwhile."""

    def look() -> dict[str, _Usage]:
        return {one.id: _Usage(time.time_ns(), cgroup_stats.read(node.tree, one.cgroup)) for one in found}

    return await asyncio.to_thread(look) if found else {}


def _container(node: Node, record: Container, what: tuple[u.FilesystemUsage | None, _Usage | None]) -> u.ContainerStats:
    attributes = u.ContainerAttributes(
        id=record.id,
        metadata=record.config.metadata,
        labels=record.config.labels,
        annotations=record.config.annotations,
    )
    size, usage = what
    if usage is None:
        return u.ContainerStats(attributes=attributes, writable_layer=size)
    return u.ContainerStats(
        attributes=attributes,
        cpu=_cpu(node, record, usage),
        memory=_memory(usage),
        swap=_swap(usage),
        io=u.IoUsage(timestamp=usage.at, psi=_psi(usage.read, "io")),
        writable_layer=size,
    )


async def _sandbox(node: Node, record: Sandbox) -> u.PodSandboxStats:
    attributes = u.PodSandboxAttributes(
        id=record.id,
        metadata=record.config.metadata,
        labels=record.config.labels,
        annotations=record.config.annotations,
    )
    if record.state is not State.READY:
        return u.PodSandboxStats(attributes=attributes)
    members = [one for one in node.records.in_pod(record.id) if one.state in exits.ALIVE]
    containers = await _of_containers(node, members)
    usage = (await _seen(node, [record]))[record.id]
    linux = u.LinuxPodSandboxStats(
        cpu=_cpu(node, record, usage),
        memory=_memory(usage),
        network=await network(node, record),
        process=u.ProcessUsage(timestamp=usage.at, process_count=usage.read.pids),
        containers=containers,
        io=u.IoUsage(timestamp=usage.at, psi=_psi(usage.read, "io")),
    )
    return u.PodSandboxStats(attributes=attributes, linux=linux)


async def network(node: Node, record: Sandbox) -> u.NetworkUsage | None:
    """Counters of the pod's interfaces; None for a pod in the host's network."""
    found = [
        u.NetworkInterfaceUsage(name=name, **{field: counters.get(field) for field in _INTERFACE})
        for name, counters in (await counters_of(node, record)).items()
    ]
    if not found:
        return None
    main = next((one for one in found if one.name == "eth0"), found[0])
    return u.NetworkUsage(timestamp=time.time_ns(), default_interface=main, interfaces=found)


async def counters_of(node: Node, record: Sandbox) -> dict[str, dict[str, int]]:
    """By interface; empty for a pod in the host's network, or one that is just going."""
    netns = record.namespaces.get("net")
    if not netns:
        return {}
    try:
        return await asyncio.to_thread(node.network.stats, netns)
    except OSError as error:
        _logger.debug("no network statistics", extra={"pod": record.id, "cause": str(error)})
        return {}


async def layer(node: Node, id: str) -> u.FilesystemUsage | None:
    """Size of the writable layer, not asked for more often than it is worth."""
    known = node.layers.get(id)
    if known is not None and time.monotonic() - known[0] < _LAYER_AGE:
        return known[1]
    try:
        usage = await node.call(images.USAGE, images.Usage(container=id))
    except CribusError as error:
        _logger.debug("no size of the writable layer", extra={"container": id, "cause": error.message})
        return None
    node.layers[id] = (time.monotonic(), usage)
    return usage


def _cpu(node: Node, record: Container | Sandbox, usage: _Usage) -> u.CpuUsage:
    born = record.started_at if isinstance(record, Container) else record.created_at
    return u.CpuUsage(
        timestamp=usage.at,
        usage_core_nano_seconds=usage.read.cpu_ns,
        usage_nano_cores=node.rates.nano_cores(record.id, usage.at, usage.read.cpu_ns, born),
        psi=_psi(usage.read, "cpu"),
    )


def _memory(usage: _Usage) -> u.MemoryUsage:
    memory = usage.read.memory
    return u.MemoryUsage(
        timestamp=usage.at,
        working_set_bytes=memory.working_set,
        available_bytes=max(0, memory.limit - memory.working_set) if memory.limit else None,
        usage_bytes=memory.usage,
        rss_bytes=memory.rss,
        page_faults=memory.page_faults,
        major_page_faults=memory.major_faults,
        psi=_psi(usage.read, "memory"),
    )


def _swap(usage: _Usage) -> u.SwapUsage | None:
    read = usage.read
    if read.swap is None:
        return None
    available = None if read.swap_limit is None else max(0, read.swap_limit - read.swap)
    return u.SwapUsage(timestamp=usage.at, swap_usage_bytes=read.swap, swap_available_bytes=available)


def _psi(read: cgroup_stats.Stats, resource: str) -> u.PsiStats | None:
    known = read.psi.get(resource)
    return u.PsiStats(Full=_data(known.full), Some=_data(known.some)) if known else None


def _data(line: cgroup_stats.Pressure | None) -> u.PsiData | None:
    if line is None:
        return None
    # CRI's total is in ns, the kernel's in µs
    return u.PsiData(Total=line.total * 1000, Avg10=line.avg10, Avg60=line.avg60, Avg300=line.avg300)


def _forget(node: Node) -> None:
    """What was remembered of containers and pods that are gone."""
    node.rates.forget_all_but(node.records.containers.keys() | node.records.sandboxes.keys())
    for id in node.layers.keys() - node.records.containers.keys():
        del node.layers[id]
