"""A node that comes up on what was on its disk, when everything that ran and lay in memory is gone."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import harness
from tests.harness import Node, until


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Node]:
    with harness.node(tmp_path) as node:
        yield node


def _processes(node: Node) -> list[int]:
    return [int(one.split()[0]) for one in node.remains()["processes"]]


def _reboot(node: Node) -> None:
    """What a host's end leaves: no process, no mount, no cgroup, no link, no rule, no run directory."""
    node.cribus("down")
    for pid in _processes(node):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not _processes(node), 10, "every process of its pods is gone")
    for mount in reversed(node.remains()["mounts"]):
        subprocess.run(["umount", "-l", mount], check=True)
    for path in sorted(Path("/sys/fs/cgroup").glob(f"*/{node.tag}/**/"), key=lambda one: -len(one.parts)):
        until(lambda path=path: not path.exists() or not _removed(path), 5, f"{path} is gone")  # type: ignore[misc]
    for link in node.remains()["links"]:
        subprocess.run(["ip", "link", "delete", link], capture_output=True)  # it may go with its namespace just now
    subprocess.run(["ip", "link", "delete", node.tag], check=True)
    subprocess.run(["nft", "delete", "table", "ip", node.tag], check=True)
    shutil.rmtree(node.run_dir)


def _removed(path: Path) -> str:
    """Why a cgroup cannot be removed yet; empty when it is gone."""
    try:
        path.rmdir()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return str(error)
    return ""


def test_after_a_reboot(one: Node) -> None:
    """Nothing of what it knew runs: it says so, frees what was theirs, and all of it can be removed."""
    ports = [{"container_port": 80, "host_port": 23456}]
    pods = [one.pod(f"old-{k}", port_mappings=ports if not k else []) for k in range(3)]
    boxes = [one.container(pod, f"old-{k}", "sleep", "1000") for k, pod in enumerate(pods)]
    ended = one.container(pods[0], "ended", "sh", "-c", "exit 3")
    assert one.exited(ended)["exitCode"] == 3
    made = one.crictl("create", pods[1], str(one.container_config("made", "true")), str(one.base / "old-1-pod.json"))
    _reboot(one)
    one.up()
    for pod in pods:
        assert one.json("inspectp", pod)["status"]["state"] == "SANDBOX_NOTREADY"
    for box in boxes:
        found = one.exited(box)
        assert (found["exitCode"], found["reason"]) == (255, "Unknown")
    assert one.exited(ended)["exitCode"] == 3, "what was known is known"
    assert one.crictl("ps", "-q") == ""
    until(lambda: one.remains()["addresses"] == [], 10, "their addresses are free")
    # another pod gets name, host port and address of what was
    fresh = one.pod("fresh", port_mappings=ports)
    one.container(fresh, "fresh", "sleep", "1000")
    assert made in one.crictl("ps", "-a", "-q").split()
    one.crictl("rmp", "-f", *pods)
    one.crictl("rmp", "-f", fresh)
    one.assert_clean()
