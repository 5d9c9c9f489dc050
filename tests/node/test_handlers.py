"""A runtime handler that is an outside program, through crictl: all that holds for the built-in one holds
for its containers, as keeper and shim are the same."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import harness, outside
from tests.harness import Node, until

WRITER = "trap 'exit 7' TERM; i=0; while :; do echo $i; i=$((i+1)); usleep 5000; done"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    extra = f'[handlers.runc]\npath = "{outside.RUNC}"\n[handlers.gone]\npath = "/nowhere/runtime"\n'
    with harness.node(tmp_path_factory.mktemp("node"), extra) as one:
        yield one


@pytest.fixture
def pod(node: Node, request: pytest.FixtureRequest) -> Iterator[str]:
    name = request.node.name.replace("_", "-")
    id = node.crictl("runp", "--runtime", "runc", str(node.pod_config(name)))
    yield id
    node.crictl("rmp", "-f", id)
    node.assert_clean()


def test_a_life(node: Node, pod: str) -> None:
    container = node.container(pod, "life", "sh", "-c", "trap 'exit 5' TERM; hostname; while :; do usleep 10000; done")
    until(lambda: node.log_lines(container), 10, "it writes")
    state = Path(f"{node.run_dir}/containers/{container}/outside/root/{container}/state.json")
    assert state.exists(), "runc itself made it"
    assert node.crictl("exec", "-s", container, "sh", "-c", "cat /proc/self/comm").strip() == "cat"
    failed = node.try_crictl("exec", "-s", container, "nope")
    assert failed.returncode != 0
    assert "not found" in failed.stderr
    node.crictl("update", "--memory", "100000000", container)
    stats = node.json("stats", "-o", "json", container)["stats"][0]
    assert int(stats["memory"]["workingSetBytes"]["value"]) > 0
    node.crictl("stop", "-t", "10", container)
    assert node.exited(container)["exitCode"] == 5


def writes_on(node: Node, container: str) -> None:
    before = len(node.log_lines(container))
    until(lambda: len(node.log_lines(container)) > before, 10, "it writes on")


def test_kills_lose_nothing(node: Node, pod: str) -> None:
    container = node.container(pod, "writer", "sh", "-c", WRITER)
    for victim in ("shim", "executor", "keeper", "manager", "shimd"):
        writes_on(node, container)
        pids = {"shim": node.shim, "keeper": node.keeper}
        argument = pod if victim == "shim" else container
        os.kill(pids[victim](argument) if victim in pids else node.services()[victim], signal.SIGKILL)
    writes_on(node, container)
    node.crictl("stop", "-t", "20", container)
    assert node.exited(container)["exitCode"] == 7
    lines = node.log_lines(container)
    assert lines == [str(number) for number in range(len(lines))]


def test_what_cannot_be_executed(node: Node, pod: str) -> None:
    config = node.container_config("absent", "/not/there")
    container = node.crictl("create", pod, str(config), str(node.base / "test-what-cannot-be-executed-pod.json"))
    failed = node.try_crictl("start", container)
    assert "no such file" in failed.stderr
    status = node.status(container)
    assert (status["state"], status["exitCode"], status["reason"]) == ("CONTAINER_EXITED", 128, "StartError")


def test_the_runtime_tells_what_it_can(node: Node) -> None:
    handlers = {one.get("name", ""): one["features"] for one in node.json("info")["runtimeHandlers"]}
    assert handlers["runc"] == {"recursive_read_only_mounts": True, "user_namespaces": True}
    assert "gone" not in handlers
    refused = node.try_crictl("runp", "--runtime", "gone", str(node.pod_config("refused")))
    assert "/nowhere/runtime is no program" in refused.stderr
