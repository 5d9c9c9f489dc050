"""Metrics have the labels that their descriptors promise."""

from pathlib import Path
from typing import Any

from cribus.api.cri import runtime as r
from cribus.api.cri.container import LinuxContainerConfig
from cribus.api.cri.security import LinuxContainerResources
from cribus.cgroups.v2 import V2
from cribus.manager import metrics

from tests.unit.manager.conftest import Run, World


def test_names_and_labels(world: World, run: Run, tmp_path: Path) -> None:
    world.node.tree = V2("cgroupfs", "cribus", str(tmp_path))

    async def story() -> Any:
        pod = await world.pod()
        limits = LinuxContainerConfig(resources=LinuxContainerResources(cpu_quota=20000, memory_limit_in_bytes=5))
        await world.running(pod, linux=limits)
        known = await metrics.descriptors(world.node, r.ListMetricDescriptorsRequest())
        return known, await metrics.list_all(world.node, r.ListPodSandboxMetricsRequest())

    known, answer = run(story())
    labels = {one.name: one.label_keys for one in known.descriptors}
    (pod,) = answer.pod_metrics
    (box,) = pod.container_metrics
    for metric in [*pod.metrics, *box.metrics]:
        assert len(metric.label_values) == len(labels[metric.name]), metric.name
        assert isinstance(metric.value, int)
    values = {metric.name: metric.value for metric in box.metrics}
    assert (values["container_spec_cpu_quota"], values["container_spec_memory_limit_bytes"]) == (20000, 5)
    network = {metric.name: metric.value for metric in pod.metrics}
    assert network["container_network_receive_packets_total"] == 3
