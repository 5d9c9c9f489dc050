"""CheckpointPod and RestorePod on a real node, where criu works and where it does not."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cri import Cri, Pod
from tests.harness import Node, until

WORKS = subprocess.run(["criu", "check"], capture_output=True, check=False).returncode == 0
COUNTS = "i=0; while [ ! -e /stop ]; do echo $i; i=$((i+1)); sleep 0.05; done; exit 7"
OWN = {"security_context": {"namespace_options": {"pid": "CONTAINER"}}}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty directory, as kubelet makes it."""
    made = tmp_path / "checkpoint"
    made.mkdir()
    return made


def boxes(pod: Pod) -> tuple[list[dict[str, Any]], list[str]]:
    """Two containers that count, and how they were asked for."""
    configs = [pod.container_config("sh", "-c", COUNTS, metadata={"name": name}, linux=OWN) for name in ("one", "two")]
    for config in configs:
        config["log_path"] = f"{config['metadata']['name']}.log"
    ids = [str(_made(pod, config)) for config in configs]
    for id in ids:
        pod.cri.call("StartContainer", container_id=id)
    until(lambda: all(len(pod.cri.node.log_lines(id)) > 3 for id in ids), 30, "they count")
    return configs, ids


def _made(pod: Pod, config: dict[str, Any]) -> str:
    answer = pod.cri.call("CreateContainer", pod_sandbox_id=pod.id, config=config, sandbox_config=pod.config)
    return str(answer.container_id)


def writes(node: Node, box: str, more: int) -> None:
    """Until it has more lines than that."""
    until(lambda: len(node.log_lines(box)) > more, 30, "it goes on")


def refused(cri: Cri, **fields: Any) -> str:
    code, text = cri.refused("CheckpointPod" if "pod_sandbox_id" in fields else "RestorePod", **fields)
    if not WORKS and code == "FAILED_PRECONDITION":
        assert "this host cannot" in text or "container" in text or "pod" in text
    return code


def test_a_pod_goes_on_and_comes_back(cri: Cri, clean: Node, place: Path) -> None:
    pod = cri.pod()
    configs, ids = boxes(pod)
    asked: dict[str, Any] = {"pod_sandbox_id": pod.id, "output_path": str(place), "container_ids": ids}
    if not WORKS:
        code, text = cri.refused("CheckpointPod", **asked)
        assert (code, "this host cannot checkpoint or restore: criu" in text) == ("FAILED_PRECONDITION", True)
        wanted = {"config": cri.pod_config("again"), "container_configs": configs}
        code, text = cri.refused("RestorePod", checkpoint_path=str(place), **wanted)
        assert (code, "this host cannot checkpoint or restore: criu" in text) == ("FAILED_PRECONDITION", True)
        assert list(place.iterdir()) == []
    else:
        cri.call("CheckpointPod", **asked)
        assert sorted(one.name for one in place.iterdir()) == ["container-0.tar", "container-1.tar", "pod.options"]
        assert set(json.loads((place / "pod.options").read_text())["containers"]) == {"one", "two"}
    for id in ids:
        writes(clean, id, len(clean.log_lines(id)))
        pod.says(id, "touch", "/stop")
        assert clean.exited(id, 30)["exitCode"] == 7
    if WORKS:
        _comes_back(cri, clean, place, configs)


def _comes_back(cri: Cri, node: Node, place: Path, configs: list[dict[str, Any]]) -> None:
    before = {one.name: one.read_bytes() for one in place.iterdir()}
    answer = cri.call(
        "RestorePod", checkpoint_path=str(place), config=cri.pod_config("again"), container_configs=configs
    )
    assert sorted(one.name for one in answer.restored_containers) == ["one", "two"]
    assert cri.call("PodSandboxStatus", pod_sandbox_id=answer.pod_sandbox_id).status.state == 0
    for one in answer.restored_containers:
        assert node.status(one.container_id)["state"] == "CONTAINER_CREATED"
        cri.call("StartContainer", container_id=one.container_id)
    for one in answer.restored_containers:
        writes(node, one.container_id, 3)
        lines = [int(line) for line in node.log_lines(one.container_id)]
        assert lines[0] > 3
        assert lines == list(range(lines[0], lines[0] + len(lines)))
    assert {one.name: one.read_bytes() for one in place.iterdir()} == before


def test_wrong_requests_to_write_down(cri: Cri, clean: Node, place: Path, tmp_path: Path) -> None:
    pod, other = cri.pod(), cri.pod()
    box, foreign = pod.running("sleep", "1000", linux=OWN), other.running("sleep", "1000", linux=OWN)
    idle = pod.created("sleep", "1000", linux=OWN)
    good: dict[str, Any] = {"pod_sandbox_id": pod.id, "output_path": str(place), "container_ids": [box]}
    (tmp_path / "file").touch()
    wrongs: list[tuple[dict[str, Any], str]] = [
        ({"pod_sandbox_id": "nobody"}, "NOT_FOUND"),
        ({"container_ids": []}, "INVALID_ARGUMENT"),
        ({"container_ids": [box, box]}, "INVALID_ARGUMENT"),
        ({"container_ids": [foreign]}, "FAILED_PRECONDITION"),
        ({"container_ids": [box, idle]}, "FAILED_PRECONDITION"),
        ({"container_ids": ["nobody"]}, "NOT_FOUND"),
        ({"output_path": "relative"}, "INVALID_ARGUMENT"),
        ({"output_path": str(tmp_path)}, "INVALID_ARGUMENT"),
        ({"output_path": str(tmp_path / "file")}, "INVALID_ARGUMENT"),
        ({"output_path": str(tmp_path / "nowhere")}, "INVALID_ARGUMENT"),
        ({"options": {"speed": "high"}}, "INVALID_ARGUMENT"),
    ]
    for wrong, code in wrongs:
        assert refused(cri, **{**good, **wrong}) == code, wrong
    assert list(place.iterdir()) == []
    assert pod.says(box, "echo", "on") == "on\n"


def test_one_that_cannot_be_written_down_leaves_nothing(cri: Cri, clean: Node, place: Path) -> None:
    pod = cri.pod()
    box = pod.running("sleep", "1000", linux=OWN)
    tty = pod.running("sleep", "1000", tty=True, linux=OWN)
    assert (
        refused(cri, pod_sandbox_id=pod.id, output_path=str(place), container_ids=[box, tty]) == "FAILED_PRECONDITION"
    )
    assert list(place.iterdir()) == []
    for one in (box, tty):
        assert pod.says(one, "echo", "on").strip() == "on"


def test_wrong_requests_to_bring_back(cri: Cri, clean: Node, place: Path) -> None:
    config = cri.pod_config("again")
    box = {"metadata": {"name": "one"}, "image": {"image": "localhost/busybox:latest"}, "command": ["sh"]}
    good: dict[str, Any] = {"checkpoint_path": str(place), "config": config, "container_configs": [box]}
    wrongs: list[dict[str, Any]] = [
        {"checkpoint_path": "relative"},
        {"container_configs": []},
        {"container_configs": [box, box]},
        {"options": {"speed": "high"}},
    ]
    for wrong in wrongs:
        assert refused(cri, **{**good, **wrong}) == "INVALID_ARGUMENT", wrong
    if not WORKS:
        assert refused(cri, **good) == "FAILED_PRECONDITION"
        return
    assert refused(cri, **good) == "INVALID_ARGUMENT"
    for text in ("{", "[]", '{"version": 2}', '{"version": 1, "containers": {"one": "../../etc/passwd"}}'):
        (place / "pod.options").write_text(text)
        assert refused(cri, **good) == "INVALID_ARGUMENT", text
    pod = cri.pod()
    configs, ids = boxes(pod)
    (place / "pod.options").unlink()
    cri.call("CheckpointPod", pod_sandbox_id=pod.id, output_path=str(place), container_ids=ids)
    pod.remove()
    more: list[dict[str, Any]] = [
        {"container_configs": configs[:1]},
        {"container_configs": [{**configs[0], "command": ["sleep", "1"]}, configs[1]]},
        {"container_configs": [{**configs[0], "envs": [{"key": "A", "value": "Yg=="}]}, configs[1]]},
        {"runtime_handler": "nobody"},
    ]
    for wrong in more:
        code = refused(cri, **{**good, "container_configs": configs, **wrong})
        assert code in ("FAILED_PRECONDITION", "INVALID_ARGUMENT", "NOT_FOUND"), (wrong, code)
    assert cri.call("ListPodSandbox").items == []
    assert cri.call("ListContainers").containers == []
