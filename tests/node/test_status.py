"""What the kubelet reads of pods and containers, and where other tools look for their processes and namespaces."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cribus.gateway.cri import api_pb2 as pb

from tests.cri import Cri
from tests.harness import Node, until

_BIG = "x=$(head -c 41943040 /dev/zero | tr '\\0' x); echo $x"  # 40 MiB


@pytest.mark.parametrize(
    ("script", "resources", "code", "reason"),
    [
        ("exit 0", {}, 0, "Completed"),
        ("exit 3", {}, 3, "Error"),
        ("kill -9 $$", {}, 137, "Error"),
        (_BIG, {"memory_limit_in_bytes": 16 << 20}, 137, "OOMKilled"),
    ],
    ids=["completed", "error", "killed", "out of memory"],
)
def test_how_a_container_ended(
    cri: Cri, clean: Node, script: str, resources: dict[str, int], code: int, reason: str
) -> None:
    pod = cri.pod()
    modes = {"security_context": {"namespace_options": {"pid": "POD"}}}
    before = time.time_ns()
    box = pod.running("sh", "-c", script, linux={"resources": resources, **modes})
    clean.exited(box)
    seen = cri.call("ContainerStatus", container_id=box).status
    assert (seen.exit_code, seen.reason, seen.message) == (code, reason, "")
    assert before < seen.created_at < seen.started_at <= seen.finished_at < time.time_ns()


def test_one_that_cannot_be_started(cri: Cri) -> None:
    pod = cri.pod()
    box = pod.created("/no/such/program")
    code, text = cri.refused("StartContainer", container_id=box)
    assert code == "NOT_FOUND"
    seen = cri.call("ContainerStatus", container_id=box).status
    assert (seen.state, seen.exit_code, seen.reason, seen.message) == (pb.CONTAINER_EXITED, 128, "StartError", text)
    assert seen.finished_at >= seen.created_at


def test_what_was_asked_for_is_told(cri: Cri, tmp_path: Path) -> None:
    words: dict[str, Any] = {"labels": {"a": "b"}, "annotations": {"c": "d"}}
    mount = {
        "container_path": "/in", "host_path": str(tmp_path), "readonly": True, "recursive_read_only": True,
        "propagation": "PROPAGATION_PRIVATE", "mount_options": ["noexec"],
    }  # fmt: skip
    pod = cri.pod(**words)
    box = pod.running(mounts=[mount], linux={"resources": {"cpu_shares": 300}}, **words)
    seen = cri.call("ContainerStatus", container_id=box).status
    image = cri.call("ImageStatus", image=pod.container_config()["image"]).image
    assert (seen.image_id, seen.image_ref) == (image.id, image.repo_digests[0])
    assert (dict(seen.labels), dict(seen.annotations)) == (words["labels"], words["annotations"])
    (told,) = seen.mounts
    assert (told.container_path, told.host_path, told.readonly) == ("/in", str(tmp_path), True)
    assert (told.recursive_read_only, list(told.mount_options)) == (True, ["noexec"])
    assert Path(seen.log_path).is_file()
    assert seen.resources.linux.cpu_shares == 300
    answer = cri.call("PodSandboxStatus", pod_sandbox_id=pod.id)
    assert (dict(answer.status.labels), answer.status.metadata.uid) == (words["labels"], pod.config["metadata"]["uid"])
    assert list(answer.containers_statuses) == [seen]
    assert answer.timestamp > seen.started_at


def test_tools_find_namespaces_and_processes(clean: Node) -> None:
    pod = clean.pod("found")
    container = clean.container(pod, "found", "sleep", "1000")
    info = clean.json("inspect", container)["info"]
    assert (info["sandboxID"], info["runtimeSpec"]["process"]["args"]) == (pod, ["sleep", "1000"])
    spec = clean.json("inspectp", pod)["info"]["runtimeSpec"]
    found = {one["type"]: one["path"] for one in spec["linux"]["namespaces"]}
    assert sorted(found) == ["ipc", "network", "pid", "uts"]
    for kind, short in (("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")):
        assert os.stat(found[kind]).st_ino == os.stat(f"/proc/{info['pid']}/ns/{short}").st_ino
    clean.crictl("rmp", "-f", pod)


def test_a_later_stop_with_less_patience_counts(cri: Cri, clean: Node) -> None:
    pod = cri.pod()
    box = pod.running("sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done")
    until(lambda: clean.log_lines(box) == ["deaf"], 10, "it is deaf")
    patient = threading.Thread(target=lambda: cri.call("StopContainer", container_id=box, timeout=50))
    patient.start()
    cri.call("StopContainer", container_id=box, timeout=0)
    patient.join(20)
    assert not patient.is_alive()
    assert cri.call("ContainerStatus", container_id=box).status.exit_code == 137


WANTED: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [0, 1]),
    ({"state": {"state": "SANDBOX_READY"}}, [1]),
    ({"state": {"state": "SANDBOX_NOTREADY"}}, [0]),
    ({"label_selector": {"of": "all"}}, [0, 1]),
    ({"label_selector": {"of": "all", "own": "1"}}, [1]),
    ({"label_selector": {"own": "2"}}, []),
]


def test_filters_of_pods(cri: Cri) -> None:
    pods = [cri.pod(labels={"of": "all", "own": str(number)}) for number in range(2)]
    cri.call("StopPodSandbox", pod_sandbox_id=pods[0].id)
    for wanted, expected in WANTED:
        found = {one.id for one in cri.call("ListPodSandbox", filter=wanted).items}
        assert found == {pods[number].id for number in expected}, wanted
    (one,) = cri.call("ListPodSandbox", filter={"id": pods[1].id[:40]}).items
    assert one.id == pods[1].id


def test_filters_of_statistics(cri: Cri) -> None:
    pods = [cri.pod() for _ in range(2)]
    boxes = [pod.running("sleep", "1000", labels={"own": str(number)}) for number, pod in enumerate(pods)]
    for wanted in ({"id": boxes[1]}, {"pod_sandbox_id": pods[1].id}, {"label_selector": {"own": "1"}}):
        (one,) = cri.call("ListContainerStats", filter=wanted).stats
        assert one.attributes.id == boxes[1]
    (pod,) = cri.call("ListPodSandboxStats", filter={"id": pods[1].id}).stats
    assert pod.attributes.id == pods[1].id
