"""State survives: each service stopped and started, and the whole node, with pods running."""

import os
import signal
from pathlib import Path

import pytest

from tests.harness import SERVICES, Node, until

WRITER = "i=0; while :; do i=$((i+1)); echo line $i; usleep 5000; done"
WAITER = "while [ ! -e /gate/open ]; do usleep 5000; done; echo through; exit 5"


def _waiter(node: Node, pod: str, name: str, gate: Path) -> str:
    """A container that exits with 5 once `open` appears in the folder `gate`."""
    gate.mkdir()
    mount = {"host_path": str(gate), "container_path": "/gate"}
    return node.container(pod, name, "sh", "-c", WAITER, mounts=[mount])


def _whole(node: Node, container: str, seen: int) -> None:
    """The log goes on, with every line once."""
    until(lambda: len(node.log_lines(container)) > seen + 5, 10, "the log goes on")
    lines = node.log_lines(container)
    assert lines == [f"line {k}" for k in range(1, len(lines) + 1)]


def test_the_whole_node_goes_down_and_comes_back(clean: Node, tmp_path: Path) -> None:
    pod = clean.pod("survivor")
    writer = clean.container(pod, "survivor", "sh", "-c", WRITER)
    waiter = _waiter(clean, pod, "waiter", tmp_path / "gate")
    before = clean.json("pods", "-o", "json")["items"]
    clean.cribus("down")
    assert clean.try_crictl("version", timeout=30).returncode != 0
    seen = len((clean.logs / "survivor" / "survivor.log").read_text().splitlines())
    (tmp_path / "gate" / "open").touch()
    until(lambda: "through" in (clean.logs / "survivor" / "waiter.log").read_text(), 5, "it goes on without the node")
    clean.up()
    assert clean.json("pods", "-o", "json")["items"] == before
    assert clean.exited(waiter)["exitCode"] == 5
    assert clean.log_lines(waiter) == ["through"]
    assert clean.status(writer)["state"] == "CONTAINER_RUNNING"
    _whole(clean, writer, seen)
    assert clean.crictl("exec", "-s", writer, "echo", "hi") == "hi"
    clean.crictl("rmp", "-f", pod)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_is_stopped_comes_back(clean: Node, service: str, tmp_path: Path) -> None:
    pod = clean.pod(f"term-{service}")
    writer = clean.container(pod, f"term-{service}", "sh", "-c", WRITER)
    waiter = _waiter(clean, pod, "waiter", tmp_path / "gate")
    pid = clean.services()[service]
    os.kill(pid, signal.SIGTERM)
    (tmp_path / "gate" / "open").touch()
    until(lambda: clean.services().get(service) not in (pid, 0, None), 15, f"{service} runs again")
    until(lambda: clean.try_crictl("version").returncode == 0, 15, "it answers")
    assert clean.exited(waiter)["exitCode"] == 5
    _whole(clean, writer, len(clean.log_lines(writer)))
    clean.crictl("rmp", "-f", pod)


def test_everything_but_keepers_and_containers_dies_with_many_pods(clean: Node) -> None:
    """More pods than shims that are started at once: the lists are whole before the shims are, and each pod gets
    its own, in which a command runs."""
    pods = [clean.pod(f"many-{k}") for k in range(20)]
    containers = [clean.container(pod, f"many-{k}", "sh", "-c", WRITER) for k, pod in enumerate(pods)]
    before = clean.json("ps", "-o", "json")["containers"], clean.json("pods", "-o", "json")["items"]
    shims = [clean.shim(pod) for pod in pods]
    supervisord = int((clean.run_dir / "supervisor" / "supervisord.pid").read_text())
    for pid in (supervisord, *shims):
        os.kill(pid, signal.SIGKILL)
    until(lambda: clean.try_crictl("ps").returncode == 0, 30, "the guard has started everything again")
    assert (clean.json("ps", "-o", "json")["containers"], clean.json("pods", "-o", "json")["items"]) == before
    for container in containers:
        assert clean.crictl("exec", "-s", container, "echo", "hi") == "hi"
        _whole(clean, container, len(clean.log_lines(container)))
    assert len({clean.shim(pod) for pod in pods} - set(shims)) == len(pods)
    for pod in pods:
        clean.crictl("rmp", "-f", pod)
