"""The node loses what it has written down: files of the run directory, the records in the KV, or both, while it
runs or while it is down. It finds its pods and containers by what runs and by what is kept on disk."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Node, run, until

SEED = int(os.environ.get("CRIBUS_SEED", random.randrange(1 << 30)))
WRITER = "trap 'echo bye $i; exit 42' TERM; i=0; while :; do i=$((i+1)); echo line $i; usleep 5000; done"
WAITER = "while [ ! -e /gate/open ]; do usleep 5000; done; echo through; exit 5"
# What containers have mounted from the run directory: what somebody writes into these files, they see.
MOUNTED = ("hostname", "hosts", "resolv.conf")
_DROP = """
import asyncio
from cribus import config
from cribus.bus import service, subjects

async def main():
    async with service.connect(config.load(), "manager") as bus:
        await bus.connection.nats.jetstream().delete_stream("KV_" + subjects.bucket(bus.node))

asyncio.run(main())
"""


class Scene:
    """A pod with a container in each state, a pod without any, and one that was stopped."""

    def __init__(self, node: Node, name: str, gate: Path) -> None:
        self.node = node
        self.gate = gate
        gate.mkdir()
        mount = {"host_path": str(gate), "container_path": "/gate"}
        self.pod = node.pod(name, labels={"of": "pod"}, annotations={"a": "b"})
        self.writer = node.container(self.pod, f"{name}-writer", "sh", "-c", WRITER, labels={"of": "writer"})
        self.waiter = node.container(self.pod, f"{name}-waiter", "sh", "-c", WAITER, mounts=[mount])
        self.exited = node.container(self.pod, f"{name}-exited", "sh", "-c", "exit 7")
        node.exited(self.exited)
        config = node.container_config(f"{name}-created", "sh", "-c", "echo created; exit 9")
        self.created = node.crictl("create", self.pod, str(config), str(node.base / f"{name}-pod.json"))
        self.empty = node.pod(f"{name}-empty")
        self.stopped = node.pod(f"{name}-stopped")
        self.over = node.container(self.stopped, f"{name}-stopped", "sh", "-c", "exit 3")
        node.exited(self.over)
        node.crictl("stopp", self.stopped)
        self.before = self.seen()
        self.keepers = [node.keeper(one) for one in (self.writer, self.waiter)]

    def seen(self) -> dict[str, Any]:
        """What crictl tells of everything, but for the state of the one that is let go meanwhile."""
        pods = {one["id"]: one for one in self.node.json("pods", "-o", "json")["items"]}
        containers = {one["id"]: one for one in self.node.json("ps", "-a", "-o", "json")["containers"]}
        del containers[self.waiter]["state"]
        inside = {}
        for id in containers:
            status = self.node.status(id)
            kept = ("metadata", "image", "imageRef", "labels", "annotations", "mounts", "logPath", "createdAt", "user")
            inside[id] = {name: status[name] for name in kept if name in status}
            inside[id]["exitCode"] = status["exitCode"] if id != self.waiter else 0
        return {"pods": pods, "containers": containers, "inside": inside}

    def shims(self) -> list[int]:
        return [self.node.shim(pod) for pod in (self.pod, self.empty)]

    def let_go(self) -> None:
        (self.gate / "open").touch()

    def check(self) -> None:
        """Everything is as before, and goes on."""
        node = self.node
        assert self.seen() == self.before
        assert [_alive(pid) for pid in self.keepers] == [True, True]
        assert node.exited(self.waiter)["exitCode"] == 5
        until(lambda: node.log_lines(self.waiter) == ["through"], 10, "its last words are in the log")
        seen = len(node.log_lines(self.writer))
        until(lambda: len(node.log_lines(self.writer)) > seen + 5, 15, "the log goes on")
        assert node.crictl("exec", "-s", self.writer, "cat", "/etc/hostname")
        node.crictl("start", self.created)
        assert node.exited(self.created)["exitCode"] == 9
        until(lambda: node.log_lines(self.created) == ["created"], 10, "it was logged")
        node.crictl("stop", "-t", "10", self.writer)
        assert node.status(self.writer)["exitCode"] == 42
        lines = node.log_lines(self.writer)
        assert lines == [*(f"line {k}" for k in range(1, len(lines))), f"bye {len(lines) - 1}"]
        until(lambda: len(node.records()) == 8, 15, "the KV has every record again")

    def clear(self) -> None:
        """By every word that there is for it; nothing may be left."""
        self.node.crictl("rm", self.exited, self.writer)
        self.node.crictl("stopp", self.pod, self.empty)
        self.node.crictl("rmp", self.pod, self.empty, self.stopped)
        self.node.assert_clean()


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def empty_run(node: Node) -> None:
    """As a user would. What is mounted there cannot be deleted."""
    subprocess.run(["rm", "-rf", str(node.run_dir)], stderr=subprocess.DEVNULL, check=False)
    left = [path for path in node.run_dir.rglob("*") if path.is_file() and "/ns/" not in str(path)]
    assert left == []


def drop_records(node: Node) -> None:
    done = run(sys.executable, "-c", _DROP, env=node.env)
    assert done.returncode == 0, done.stderr


def files_of(node: Node) -> list[Path]:
    """Of the run directory, without what is a mount."""
    found = [one for one in sorted(node.run_dir.rglob("*")) if not one.is_dir() and "/ns/" not in str(one)]
    return [one for one in found if "/shm/" not in str(one) and one.name not in MOUNTED]


def some_lost(node: Node) -> None:
    rng = random.Random(SEED)
    for one in files_of(node):
        if rng.random() < 0.5:
            one.unlink()


def some_spoilt(node: Node) -> None:
    """Cut short, emptied, or overwritten."""
    rng = random.Random(SEED)
    for one in files_of(node):
        if one.is_file():
            data = one.read_bytes()
            one.write_bytes(rng.choice([data[: len(data) // 2], b"", rng.randbytes(len(data) or 9), data]))


def whole_again(node: Node) -> None:
    """After the run directory was emptied under the node: it answers, and can be asked how it is."""
    supervisor = node.run_dir / "supervisor"
    until(lambda: (supervisor / "control.sock").exists() and (node.run_dir / "events").exists(), 40, "it starts anew")
    until(lambda: node.try_crictl("ps").returncode == 0, 40, "it answers")


@pytest.mark.parametrize(
    ("name", "lose"),
    [
        ("kv", [drop_records]),
        ("run", [empty_run]),
        ("both", [drop_records, empty_run]),
    ],
)
def test_under_the_running_node(clean: Node, name: str, lose: list[Callable[[Node], None]], tmp_path: Path) -> None:
    scene = Scene(clean, f"live-{name}", tmp_path / "gate")
    for way in lose:
        way(clean)
    scene.let_go()
    if empty_run in lose:
        whole_again(clean)
    scene.check()
    assert set(clean.services()) >= {"nats", "manager"}
    scene.clear()


@pytest.mark.parametrize(
    ("name", "lose"),
    [
        ("both", [empty_run, lambda node: shutil.rmtree(node.root / "bus" / "jetstream")]),
        ("parts", [some_lost]),
        ("parts-and-kv", [some_lost, lambda node: shutil.rmtree(node.root / "bus" / "jetstream")]),
        ("spoilt", [some_spoilt]),
        ("spoilt-and-kv", [some_spoilt, lambda node: shutil.rmtree(node.root / "bus" / "jetstream")]),
    ],
)
def test_while_the_node_is_down(clean: Node, name: str, lose: list[Callable[[Node], None]], tmp_path: Path) -> None:
    """And its shims with it: only containers and their keepers live."""
    print(f"CRIBUS_SEED={SEED}")
    scene = Scene(clean, f"down-{name}", tmp_path / "gate")
    shims = scene.shims()
    clean.cribus("down")
    for pid in shims:
        os.kill(pid, signal.SIGKILL)
    for way in lose:
        way(clean)
    scene.let_go()
    clean.up()
    scene.check()
    scene.clear()


def test_a_container_whose_directory_is_lost_while_the_node_runs(clean: Node) -> None:
    """Nobody notices before somebody asks; then it is found by its keeper, and not taken for gone."""
    pod = clean.pod("one-lost")
    container = clean.container(pod, "one-lost", "sh", "-c", WRITER)
    until(lambda: clean.log_lines(container), 10, "it writes")
    shutil.rmtree(clean.run_dir / "containers" / container)
    assert clean.crictl("exec", "-s", container, "echo", "hi") == "hi"
    clean.crictl("stop", "-t", "10", container)
    assert clean.status(container)["exitCode"] == 42
    clean.crictl("rmp", "-f", pod)
    clean.assert_clean()


def test_a_container_of_which_nothing_is_known_is_ended(clean: Node) -> None:
    """Neither record nor copy: it cannot be shown to anybody, so it may not run on unseen."""
    pod = clean.pod("nobodys")
    container = clean.container(pod, "nobodys", "sh", "-c", WRITER)
    keeper, init = clean.keeper(container), clean.json("inspect", container)["info"]["pid"]
    clean.cribus("down")
    empty_run(clean)
    shutil.rmtree(clean.root / "bus" / "jetstream")
    shutil.rmtree(clean.root / "kept")
    clean.up()
    until(lambda: not (_alive(keeper) or _alive(init)), 10, "it has ended")
    assert json.loads(clean.crictl("pods", "-o", "json"))["items"] == []
    clean.assert_clean()
