"""New limits are in the kernel, seen from inside a container and from outside."""

from pathlib import Path
from typing import Any

from tests.cri import Cri
from tests.harness import Node, until


def _limit(node: Node, controller: str, path: str, name: str) -> str:
    return Path(f"/sys/fs/cgroup/{controller}{path}/{name}").read_text().strip()


def _cgroup(node: Node, pod: str, container: str = "") -> str:
    return f"/{node.tag}/{pod}/{container}".rstrip("/")


def test_of_a_container_that_runs(cri: Cri, clean: Node) -> None:
    pod = cri.pod()
    box = pod.running("sleep", "1000", linux={"resources": {"memory_limit_in_bytes": 64 << 20, "cpu_shares": 512}})
    where = _cgroup(clean, pod.id, box)
    limits = {"memory_limit_in_bytes": 32 << 20, "cpu_quota": 50_000, "cpu_period": 100_000, "cpuset_cpus": "0"}
    cri.call("UpdateContainerResources", container_id=box, linux=limits)
    assert _limit(clean, "memory", where, "memory.limit_in_bytes") == str(32 << 20)
    assert _limit(clean, "cpu", where, "cpu.cfs_quota_us") == "50000"
    assert _limit(clean, "cpu", where, "cpu.shares") == "512"  # what is not named stays
    assert pod.says(box, "grep", "Cpus_allowed_list", "/proc/self/status").split()[1] == "0"
    told = cri.call("ContainerStatus", container_id=box).status.resources.linux
    assert (told.memory_limit_in_bytes, told.cpu_shares, told.cpuset_cpus) == (32 << 20, 512, "0")
    cri.call("UpdateContainerResources", container_id=box, linux={"memory_limit_in_bytes": 128 << 20})
    assert _limit(clean, "memory", where, "memory.limit_in_bytes") == str(128 << 20)


def test_of_one_that_is_not_started_yet(cri: Cri, clean: Node) -> None:
    pod = cri.pod()
    box = pod.created("sleep", "1000")
    cri.call("UpdateContainerResources", container_id=box, linux={"cpu_shares": 300})
    cri.call("StartContainer", container_id=box)
    assert _limit(clean, "cpu", _cgroup(clean, pod.id, box), "cpu.shares") == "300"


def test_what_cannot_be_changes_nothing(cri: Cri, clean: Node) -> None:
    pod = cri.pod()
    box = pod.running("sleep", "1000", linux={"resources": {"cpu_shares": 512}})
    code, text = cri.refused("UpdateContainerResources", container_id=box, linux={"cpuset_cpus": "4000"})
    assert code == "INVALID_ARGUMENT"
    assert "cpuset.cpus" in text
    assert cri.call("ContainerStatus", container_id=box).status.resources.linux.cpuset_cpus == ""
    cri.call("StopContainer", container_id=box)
    assert (
        cri.refused("UpdateContainerResources", container_id=box, linux={"cpu_shares": 9})[0] == "FAILED_PRECONDITION"
    )


def test_less_than_is_in_use_is_refused_and_a_limit_can_be_lifted(cri: Cri, clean: Node) -> None:
    pod = cri.pod()
    script = "x=$(head -c 41943040 /dev/zero | tr '\\0' x); echo ready; sleep 1000; echo $x"
    box = pod.running(
        "sh", "-c", script, linux={"resources": {"memory_limit_in_bytes": 200 << 20, "cpu_quota": 50_000}}
    )
    until(lambda: clean.log_lines(box) == ["ready"], 20, "it has its 40 MiB")
    code, text = cri.refused("UpdateContainerResources", container_id=box, linux={"memory_limit_in_bytes": 8 << 20})
    assert (code, "in use" in text) == ("FAILED_PRECONDITION", True)
    where = _cgroup(clean, pod.id, box)
    assert _limit(clean, "memory", where, "memory.limit_in_bytes") == str(200 << 20)
    cri.call("UpdateContainerResources", container_id=box, linux={"memory_limit_in_bytes": -1, "cpu_quota": -1})
    assert int(_limit(clean, "memory", where, "memory.limit_in_bytes")) > 1 << 60
    assert _limit(clean, "cpu", where, "cpu.cfs_quota_us") == "-1"


def test_of_a_pod(cri: Cri, clean: Node) -> None:
    pod = cri.pod()
    box = pod.running("sleep", "1000")
    where = _cgroup(clean, pod.id)
    update: dict[str, Any] = {
        "resources": {"memory_limit_in_bytes": 100 << 20, "cpu_shares": 2048, "cpu_quota": 150_000},
        "overhead": {"memory_limit_in_bytes": 20 << 20, "cpu_shares": 100, "cpu_quota": 10_000},
    }
    cri.call("UpdatePodSandboxResources", pod_sandbox_id=pod.id, **update)
    assert _limit(clean, "memory", where, "memory.limit_in_bytes") == str(120 << 20)
    assert _limit(clean, "cpu", where, "cpu.shares") == "2148"
    assert _limit(clean, "cpu", where, "cpu.cfs_quota_us") == "160000"
    # and it holds what is in the pod: more than that is killed
    answer = cri.call(
        "ExecSync", container_id=box, cmd=["sh", "-c", "x=$(head -c 157286400 /dev/zero | tr '\\0' x)"], timeout=60
    )
    assert answer.exit_code != 0
    cri.call("UpdatePodSandboxResources", pod_sandbox_id=pod.id, resources={"memory_limit_in_bytes": 200 << 20})
    assert _limit(clean, "memory", where, "memory.limit_in_bytes") == str(220 << 20)
