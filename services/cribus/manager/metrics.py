"""The metrics that kubelet's /metrics/cadvisor shows, by their names there, of every pod and
container. What a cgroup version or file system does not count is left out."""

import asyncio
import os
import time
from collections.abc import Iterable, Sequence

from cribus.api.cri import runtime as r
from cribus.api.cri.values import MetricType
from cribus.manager import exits, paging, stats
from cribus.manager.metric_kinds import KINDS, NETWORK, Kind
from cribus.manager.metrics_read import Reading, read
from cribus.manager.node import Node
from cribus.manager.records import Container, Sandbox, State

_OF_CONTAINER = ["id", "name"]


async def descriptors(node: Node, request: r.ListMetricDescriptorsRequest) -> r.ListMetricDescriptorsResponse:
    """Every metric that may be listed."""
    known = [
        r.MetricDescriptor(name=one.name, help=one.help, label_keys=[*_OF_CONTAINER, *one.labels]) for one in KINDS
    ]
    known += [r.MetricDescriptor(name=name, help=what, label_keys=["id", "interface"]) for name, what, _ in NETWORK]
    return r.ListMetricDescriptorsResponse(descriptors=known)


def _fitting(node: Node, request: r.ListPodSandboxMetricsRequest) -> Iterable[Sandbox]:
    return (one for one in node.records.sandboxes.values() if one.state is State.READY)


async def _telling(node: Node, found: Sequence[Sandbox]) -> r.ListPodSandboxMetricsResponse:
    return r.ListPodSandboxMetricsResponse(pod_metrics=list(await asyncio.gather(*(_pod(node, one) for one in found))))


list_all = paging.whole(_fitting, _telling)
page = paging.paged(_fitting, _telling)


async def _pod(node: Node, record: Sandbox) -> r.PodSandboxMetrics:
    now = time.time_ns()
    members = [one for one in node.records.in_pod(record.id) if one.state in exits.ALIVE]
    return r.PodSandboxMetrics(
        pod_sandbox_id=record.id,
        metrics=[*_network(await stats.counters_of(node, record), record.id, now), *await _own(node, record, now)],
        container_metrics=[
            r.ContainerMetrics(container_id=one.id, metrics=await _of_container(node, one, now)) for one in members
        ],
    )


async def _own(node: Node, record: Sandbox, now: int) -> list[r.Metric]:
    reading = await asyncio.to_thread(read, node.tree, record.cgroup)
    reading.values["started"] = record.created_at // 10**9
    return list(_metrics(reading, [record.id, "POD"], now))


async def _of_container(node: Node, record: Container, now: int) -> list[r.Metric]:
    reading = await asyncio.to_thread(read, node.tree, record.cgroup)
    values = reading.values
    values["started"] = record.started_at // 10**9
    limits = record.resources
    if limits is not None:
        values["spec_cpu_period"], values["spec_cpu_quota"] = limits.cpu_period, limits.cpu_quota
        values["spec_cpu_shares"], values["spec_memory"] = limits.cpu_shares, limits.memory_limit_in_bytes
        values["spec_swap"] = limits.memory_swap_limit_in_bytes or limits.memory_limit_in_bytes
    layer = await stats.layer(node, record.id)
    if layer is not None and layer.used_bytes is not None:
        values["fs_usage"] = layer.used_bytes
    _file_system(node, reading)
    name = record.config.metadata.name if record.config.metadata else ""
    return list(_metrics(reading, [record.id, name], now))


def _file_system(node: Node, reading: Reading) -> None:
    whole = os.statvfs(node.settings.root)
    reading.values["fs_inodes_free"], reading.values["fs_inodes"] = whole.f_favail, whole.f_files
    reading.values["fs_limit"] = whole.f_blocks * whole.f_frsize


def _metrics(reading: Reading, who: list[str], now: int) -> Iterable[r.Metric]:
    """What was read, as metrics; a name with several label values gives several."""
    reading.values["now"] = now // 10**9
    for kind in KINDS:
        if kind.value in reading.values:
            labels = [reading.device] if kind.labels == ("device",) else ["total"] if kind.labels == ("cpu",) else []
            yield _metric(kind, [*who, *labels], reading.values[kind.value], now)
        for labelled, value in reading.labelled.get(kind.value, ()):
            yield _metric(kind, [*who, *labelled], value, now)


def _metric(kind: Kind, labels: list[str], value: int, now: int) -> r.Metric:
    return r.Metric(name=kind.name, timestamp=now, metric_type=kind.kind, label_values=labels, value=value)


def _network(found: dict[str, dict[str, int]], pod: str, now: int) -> Iterable[r.Metric]:
    for interface, counters in found.items():
        for name, _, field in NETWORK:
            if field in counters:
                yield r.Metric(
                    name=name,
                    timestamp=now,
                    metric_type=MetricType.COUNTER,
                    label_values=[pod, interface],
                    value=counters[field],
                )
