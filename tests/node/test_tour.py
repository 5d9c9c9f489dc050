"""The tour that a newcomer makes with crictl: every command answers the truth."""

import base64
import json
from pathlib import Path
from typing import Any

from tests.cri import Cri
from tests.harness import IMAGE, Node, until


def test_version_and_info(clean: Node) -> None:
    assert "RuntimeName:  cribus" in clean.crictl("version")
    info = clean.json("info")
    conditions = {one["type"]: one["status"] for one in info["status"]["conditions"]}
    assert conditions == {"RuntimeReady": True, "NetworkReady": True} or all(conditions.values())


def test_images(clean: Node) -> None:
    assert "localhost/busybox" in clean.crictl("images")
    assert clean.json("inspecti", IMAGE)["status"]["repoTags"] == [IMAGE]
    assert clean.json("imagefsinfo")["status"]["imageFilesystems"][0]["fsId"]["mountpoint"]


def test_a_pod_from_run_to_remove(clean: Node) -> None:
    pod = clean.pod("tour", hostname="tour-host")
    assert clean.json("inspectp", pod)["status"]["state"] == "SANDBOX_READY"
    assert clean.json("inspectp", pod)["status"]["network"]["ip"]
    container = clean.container(
        pod, "main", "sh", "-c", "hostname; echo to-err >&2; trap 'exit 7' TERM; while :; do sleep 1000 & wait; done"
    )
    until(lambda: len(clean.log_lines(container)) == 2, 5, "two lines of log")
    assert sorted(clean.log_lines(container)) == ["to-err", "tour-host"]
    assert clean.crictl("exec", "-s", container, "echo", "hi") == "hi"
    assert "hi" in clean.crictl("exec", container, "echo", "hi")
    assert clean.try_crictl("exec", "-s", container, "sh", "-c", "exit 5").returncode != 0
    assert container[:13] in clean.crictl("ps")
    stats = clean.json("stats", "-o", "json", container)["stats"][0]
    assert int(stats["memory"]["workingSetBytes"]["value"]) > 0
    assert clean.json("statsp", "-o", "json", pod)["stats"]
    assert "to-err" in clean.crictl("logs", container) + clean.try_crictl("logs", container).stderr
    clean.crictl("stop", "-t", "5", container)
    status = clean.status(container)
    assert (status["state"], status["exitCode"]) == ("CONTAINER_EXITED", 7)
    assert container[:13] in clean.crictl("ps", "-a")
    clean.crictl("rm", container)
    clean.crictl("stopp", pod)
    clean.crictl("rmp", pod)
    assert pod[:13] not in clean.crictl("pods")


def test_run_in_one_command(clean: Node) -> None:
    pod_config = clean.pod_config("once")
    container_config = clean.container_config("once", "sh", "-c", "echo done; exit 3")
    container = clean.crictl("run", "--no-pull", str(container_config), str(pod_config))
    assert clean.exited(container)["exitCode"] == 3
    assert clean.log_lines(container) == ["done"]
    clean.crictl("rmp", "-f", clean.json("inspect", container)["info"]["sandboxID"])


def test_an_environment_may_hold_any_bytes(cri: Cri) -> None:
    pod = cri.pod()
    value = base64.b64encode(b"x\xff\xfe").decode()
    container = pod.created("sh", "-c", 'printf %s "$A" | od -An -tx1', envs=[{"key": "A", "value": value}])
    cri.call("StartContainer", container_id=container)
    assert cri.node.exited(container)["exitCode"] == 0
    assert [line.split() for line in cri.node.log_lines(container)] == [["78", "ff", "fe"]]


def test_a_duplicate_name_is_refused(clean: Node) -> None:
    """But a repeat of the very request, as long as nobody uses the pod, is answered with it."""
    pod = clean.pod("twice")
    config = clean.pod_config("twice")
    assert clean.crictl("runp", str(config)) == pod
    clean.container(pod, "main", "sleep", "1000")
    for other in ({}, {"hostname": "other"}):
        again = clean.try_crictl("runp", str(clean.pod_config("twice", **other)))
        assert again.returncode != 0
        assert "AlreadyExists" in again.stderr
    clean.crictl("rmp", "-f", pod)


def test_bad_input_says_what_is_wrong(clean: Node) -> None:
    pod = clean.pod("bad")
    config = clean.base / "bad-pod.json"
    missing = clean.container_config("missing", "true", image={"image": "localhost/none:1"})
    answer = clean.try_crictl("create", "--no-pull", pod, str(missing), str(config))
    assert "NotFound" in answer.stderr
    assert "localhost/none:1" in answer.stderr
    nofile = clean.container_config("nofile", "/no/such/program")
    container = clean.crictl("create", pod, str(nofile), str(config))
    answer = clean.try_crictl("start", container)
    assert answer.returncode != 0
    assert "/no/such/program" in answer.stderr
    assert "NotFound" in clean.try_crictl("inspect", "f" * 64).stderr
    clean.crictl("rmp", "-f", pod)


def test_stop_and_remove_from_any_state(clean: Node) -> None:
    pod = clean.pod("orders")
    container = clean.crictl(
        "create", pod, str(clean.container_config("c", "sleep", "1000")), str(clean.base / "orders-pod.json")
    )
    clean.crictl("stop", container)
    clean.crictl("rm", container)
    running = clean.container(pod, "r", "sleep", "1000")
    clean.crictl("rm", "-f", running)
    clean.container(pod, "r2", "sleep", "1000")
    clean.crictl("stopp", pod)
    clean.crictl("stopp", pod)
    clean.crictl("rmp", pod)


def test_what_is_not_there_is_stopped_and_removed_and_unknown_to_all_else(cri: Cri) -> None:
    pods: dict[str, Any] = {"pod_sandbox_id": "f" * 64}
    containers: dict[str, Any] = {"container_id": "f" * 64}
    for method in ("StopPodSandbox", "RemovePodSandbox"):
        cri.call(method, **pods)
    for method in ("StopContainer", "RemoveContainer"):
        cri.call(method, **containers)
    for method in ("PodSandboxStatus", "PodSandboxStats", "UpdatePodSandboxResources", "PortForward"):
        assert cri.refused(method, **pods)[0] == "NOT_FOUND", method
    for method in ("StartContainer", "ContainerStatus", "ContainerStats", "ReopenContainerLog"):
        assert cri.refused(method, **containers)[0] == "NOT_FOUND", method
    assert cri.refused("UpdateContainerResources", **containers, linux={"cpu_shares": 100})[0] == "NOT_FOUND"
    assert cri.refused("ExecSync", **containers, cmd=["true"])[0] == "NOT_FOUND"
    for method in ("Exec", "Attach"):
        command = {"cmd": ["true"]} if method == "Exec" else {}
        assert cri.refused(method, **containers, stdout=True, **command)[0] == "NOT_FOUND"


def test_the_beginning_of_several_ids_stops_none_of_them(cri: Cri) -> None:
    first: dict[str, str] = {}
    while True:  # at most 17 pods: an id's first digit is one of 16
        pod = cri.pod()
        box = pod.running()
        if pod.id[0] in first:
            break
        first[pod.id[0]] = box
    for method in ("StopPodSandbox", "RemovePodSandbox"):
        code, text = cri.refused(method, pod_sandbox_id=pod.id[0])
        assert (code, "beginning of 2 ids" in text) == ("INVALID_ARGUMENT", True)
        assert cri.refused(method, pod_sandbox_id="")[0] == "INVALID_ARGUMENT"
    for method in ("StopContainer", "RemoveContainer"):
        assert cri.refused(method, container_id="")[0] == "INVALID_ARGUMENT"
    for one in (box, first[pod.id[0]]):
        assert cri.node.status(one)["state"] == "CONTAINER_RUNNING"
    cri.call("StopPodSandbox", pod_sandbox_id=pod.id[:20])
    assert cri.node.status(box)["state"] == "CONTAINER_EXITED"


def test_fifty_pods_leave_nothing(clean: Node) -> None:
    pods = [clean.pod(f"many-{k}") for k in range(50)]
    for k, pod in enumerate(pods[:10]):
        clean.container(pod, f"many-{k}", "sleep", "1000")
    clean.crictl("rmp", "-f", *pods)
    assert json.loads(clean.crictl("pods", "-o", "json"))["items"] == []
    assert not list(Path(clean.run_dir / "pods").iterdir())
