"""Usage of real containers and pods: every field that the kernel here can tell, and true."""

from pathlib import Path
from typing import Any

from tests.cri import Cri, Pod
from tests.harness import IMAGE, Node, until

# 8 MiB that are really used, some CPU, 3 MiB in the writable layer; then it waits.
_WORK = (
    "head -c 3145728 /dev/zero >/file; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; "
    "x=$(head -c 8388608 /dev/zero | tr '\\0' x); echo ready; sleep 1000; echo over"
)
LIMITS = {"linux": {"resources": {"memory_limit_in_bytes": 64 << 20}}}


def _working(pod: Pod, node: Node) -> str:
    box = pod.running("sh", "-c", _WORK, **LIMITS)
    until(lambda: node.log_lines(box) == ["ready"], 20, "the work is done")
    return box


def test_a_container(cri: Cri, clean: Node) -> None:
    pod = cri.pod()
    box = _working(pod, clean)
    seen = cri.call("ContainerStats", container_id=box).stats
    assert (seen.attributes.id, seen.attributes.metadata.name) == (box, clean.status(box)["metadata"]["name"])
    assert seen.cpu.timestamp > 0
    assert seen.cpu.usage_core_nano_seconds.value > 10**7
    assert seen.cpu.usage_nano_cores.value > 10**6  # the first time too
    memory = seen.memory
    assert 8 << 20 < memory.working_set_bytes.value <= memory.usage_bytes.value < 64 << 20
    assert memory.available_bytes.value == (64 << 20) - memory.working_set_bytes.value
    assert 8 << 20 < memory.rss_bytes.value < 64 << 20
    assert memory.page_faults.value > 1000
    assert memory.HasField("major_page_faults")
    assert 3 << 20 <= seen.writable_layer.used_bytes.value < 4 << 20
    assert seen.writable_layer.inodes_used.value >= 1
    assert Path(seen.writable_layer.fs_id.mountpoint).is_dir()
    assert seen.io.timestamp > 0
    _pressure(seen)
    if Path("/sys/fs/cgroup/memory/memory.memsw.usage_in_bytes").exists():
        assert seen.swap.HasField("swap_usage_bytes")
        assert seen.swap.HasField("swap_available_bytes")
        assert seen.swap.swap_available_bytes.value == 0  # memory and swap have one limit: none is left
    listed = {one.attributes.id: one for one in cri.call("ListContainerStats").stats}
    assert listed[box].cpu.usage_core_nano_seconds.value >= seen.cpu.usage_core_nano_seconds.value


def _pressure(seen: Any) -> None:
    """Where the kernel tells it of each cgroup: v2, unless it was booted without."""
    there = Path("/sys/fs/cgroup/cgroup.controllers").exists() and Path("/proc/pressure/cpu").exists()
    for one in (seen.cpu, seen.memory, seen.io):
        assert one.HasField("psi") == there
    if there:
        assert seen.cpu.psi.Some.Total > 0


def test_a_pod(cri: Cri, clean: Node) -> None:
    pod = cri.pod(labels={"a": "b"})
    box = _working(pod, clean)
    address = cri.call("PodSandboxStatus", pod_sandbox_id=pod.id).status.network.ip
    pod.says(box, "ping", "-c", "3", "-s", "1000", ".".join([*address.split(".")[:2], "0", "1"]))
    seen = cri.call("PodSandboxStats", pod_sandbox_id=pod.id).stats
    assert dict(seen.attributes.labels) == {"a": "b"}
    linux = seen.linux
    own = linux.containers[0]
    assert own.attributes.id == box
    assert linux.cpu.usage_core_nano_seconds.value >= own.cpu.usage_core_nano_seconds.value
    assert linux.cpu.usage_nano_cores.value > 0
    assert linux.memory.working_set_bytes.value >= own.memory.rss_bytes.value
    assert linux.process.process_count.value >= 1
    network = linux.network
    assert network.default_interface.name == "eth0"
    assert [one.name for one in network.interfaces] == ["eth0"]
    for counter in (network.default_interface.rx_bytes, network.default_interface.tx_bytes):
        assert 3000 < counter.value < 100_000
    assert network.default_interface.HasField("rx_errors")
    assert linux.io.timestamp > 0
    _pressure(linux)
    chosen = cri.call("ListPodSandboxStats", filter={"label_selector": {"a": "b"}}).stats
    assert [one.attributes.id for one in chosen] == [pod.id]


def test_metrics_have_the_labels_that_are_promised(cri: Cri, clean: Node) -> None:
    pod = cri.pod()
    box = _working(pod, clean)
    promised = {one.name: list(one.label_keys) for one in cri.call("ListMetricDescriptors").descriptors}
    (found,) = cri.call("ListPodSandboxMetrics").pod_metrics
    (own,) = found.container_metrics
    assert (found.pod_sandbox_id, own.container_id) == (pod.id, box)
    for metric in [*found.metrics, *own.metrics]:
        assert len(metric.label_values) == len(promised[metric.name]), metric.name
    values = {metric.name: metric.value.value for metric in own.metrics}
    assert values["container_processes"] == 2  # the shell and its sleep
    assert values["container_spec_memory_limit_bytes"] == 64 << 20
    assert values["container_memory_rss"] > 8 << 20
    assert values["container_fs_usage_bytes"] >= 3 << 20
    assert values["container_threads"] >= 1
    assert {"container_network_receive_bytes_total"} <= {metric.name for metric in found.metrics}


def test_in_the_hosts_network_there_are_no_counters_of_its_own(cri: Cri) -> None:
    options = {"namespace_options": {"network": "NODE"}}
    pod = cri.pod(linux={"security_context": options})
    pod.running("sleep", "1000", linux={"security_context": options}, image={"image": IMAGE})
    assert not cri.call("PodSandboxStats", pod_sandbox_id=pod.id).stats.linux.HasField("network")
