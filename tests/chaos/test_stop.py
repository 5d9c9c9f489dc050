"""SIGSTOP to each process of the node: it is noticed by its missing sign of life and replaced, while nothing
happens and in the middle of every operation, by real crictl. Two at once, and three.

Afterwards the container still runs, every line is in its log once and in order, the calls that were
under way succeed, by themselves or when they are repeated, and the API is whole again within two
seconds of the moment in which the hang could be noticed; the exit code is right, and nothing is left.
"""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cribus import config, hung
from cribus.pulse import EVERY, Page

from tests.chaos.recovery import Kill
from tests.chaos.victims import Victims
from tests.harness import Node, until

WRITER = "trap 'exit 42' TERM; i=0; while :; do i=$((i+1)); echo line $i; usleep 2000; done"
SEED = int(os.environ.get("CRIBUS_SEED", random.randrange(1 << 30)))
NOTICED = hung.PATIENCE + 2 * EVERY  # seconds
TOGETHER = (
    ("nats", "shimd"),
    ("gateway", "images", "executor fork server"),
    ("manager", "executor"),
    ("supervisord", "shim"),
    ("guard", "shimd fork server", "images fork server"),
)
ALONE = ("nats", "images", "executor", "shimd", "manager", "gateway", "executor fork server", "supervisord", "shim")


class Scene:
    """A pod whose container numbers its lines, and who is stopped beside it."""

    def __init__(self, node: Node, name: str) -> None:
        print(f"CRIBUS_SEED={SEED}")
        os.environ["CRIBUS_CONFIG"] = str(node.config)
        self.node = node
        self.pod = node.pod(name)
        self.container = node.container(self.pod, name, "sh", "-c", WRITER)
        self.victims = Victims(node, config.load())
        until(lambda: node.log_lines(self.container), 5, "the first line")

    def stop(self, parts: tuple[str, ...]) -> dict[str, int]:
        pids = {part: self.victims.pid(part, self.pod, self.container) for part in parts}
        for pid in pids.values():
            os.kill(pid, signal.SIGSTOP)
        return pids

    def replaced(self, pids: dict[str, int], since: Kill) -> None:
        """Each of them is gone, and every kind of call works again in time."""
        for part, pid in pids.items():
            until(partial(_gone, pid), NOTICED + 30, f"{part} is replaced")
        for call in (("ps",), ("pods",), ("images",), ("exec", "-s", self.container, "true")):
            until(partial(_works, self.node, call), 20, f"crictl {call[0]} works")
        since.over()

    def prove(self) -> None:
        """Alive, its log whole, and a true exit code at the end."""
        node = self.node
        seen = len(node.log_lines(self.container))
        until(lambda: len(node.log_lines(self.container)) > seen + 5, 5, "the log goes on")
        node.crictl("stop", "-t", "5", self.container)
        assert node.status(self.container)["exitCode"] == 42
        lines = node.log_lines(self.container)
        assert lines == [f"line {k}" for k in range(1, len(lines) + 1)]
        node.crictl("rmp", "-f", self.pod)


def _gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def _works(node: Node, call: tuple[str, ...]) -> bool:
    return node.try_crictl(*call).returncode == 0


@pytest.mark.parametrize("parts", TOGETHER, ids=" ".join)
def test_stop_while_idle(clean: Node, parts: tuple[str, ...]) -> None:
    scene = Scene(clean, f"still-{parts[0].replace(' ', '-')}")
    since = Kill(clean, f"stopped {'+'.join(parts)}", NOTICED)
    pids = scene.stop(parts)
    scene.replaced(pids, since)
    page = Page(str(clean.run_dir))
    for part in set(parts) - {"shim"}:
        name = part.split()[0]
        count, at, why = page.hangs(name)
        assert count >= 1, part
        assert time.time_ns() - at < 60e9
        assert "stopped by a signal" in why, part
        until(partial(_told, clean, name, at), 5, f"an event says that {name} was replaced")
    scene.prove()


def _told(node: Node, name: str, at: int) -> bool:
    told = [json.loads(line) for line in node.cribus("events", "--kind", "service_replaced").splitlines()]
    return any((one["id"], one["at"]) == (name, at) for one in told)


@pytest.mark.parametrize(
    "parts", [("keeper",), ("shim", "keeper"), ("shim", "shimd", "executor", "keeper")], ids=" ".join
)
def test_a_keeper_that_was_stopped_goes_on(clean: Node, parts: tuple[str, ...]) -> None:
    """Whoever else was stopped with it: what it holds nobody else may have."""
    scene = Scene(clean, "-".join(("held", *parts)))
    since = Kill(clean, f"stopped {'+'.join(parts)}", NOTICED)
    pids = scene.stop(parts)
    keeper = pids.pop("keeper")
    scene.replaced(pids, since)
    until(lambda: not hung.stopped(keeper), NOTICED + 30, "it goes on")
    scene.prove()


def test_those_that_were_forked_ahead_are_stopped(clean: Node) -> None:
    """Whoever needs one of them gets another."""
    scene = Scene(clean, "parked")
    parked = until(lambda: scene.victims.parked(), 10, "some wait")
    for pid in parked:
        os.kill(pid, signal.SIGSTOP)
    since = Kill(clean, "stopped children forked ahead", NOTICED)
    pod = clean.pod("unparked")
    container = clean.container(pod, "unparked", "sh", "-c", WRITER)
    scene.replaced(dict.fromkeys(map(str, parked), 0), since)
    for pid in parked:
        assert _gone(pid)
    clean.crictl("exec", "-s", container, "true")
    clean.crictl("rmp", "-f", pod)
    scene.prove()


class Work:
    """The five operations of a pod's life, each on a pod of its own, all under way at the same time."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.operations: dict[str, Callable[[], Any]] = {
            "run": lambda: node.try_crictl("runp", str(node.pod_config("run"))),
            "create": lambda: self._create("create"),
            "start": lambda: node.try_crictl("start", self._containers["start"]),
            "exec": lambda: node.try_crictl("exec", "-s", self._containers["exec"], "sh", "-c", "echo ok"),
            "stop": lambda: node.try_crictl("stop", "-t", "1", self._containers["stop"]),
        }
        self._pods: dict[str, str] = {}
        self._containers: dict[str, str] = {}
        self._results: dict[str, Any] = {}
        self._threads: list[threading.Thread] = []

    def prepare(self) -> None:
        """What must be there before each."""
        for name in ("create", "start", "exec", "stop"):
            self._pods[name] = self.node.pod(name)
            if name != "create":
                done = self._create(name)
                assert done.returncode == 0, done.stderr
                self._containers[name] = done.stdout.strip()
            if name in ("exec", "stop"):
                self.node.crictl("start", self._containers[name])

    def _create(self, name: str) -> Any:
        config = self.node.container_config(f"{name}-c", "sleep", "1000")
        return self.node.try_crictl("create", self._pods[name], str(config), str(self.node.base / f"{name}-pod.json"))

    def begin(self) -> None:
        for name in self.operations:
            thread = threading.Thread(target=self._do, args=(name,))
            self._threads.append(thread)
            thread.start()

    def _do(self, name: str) -> None:
        self._results[name] = self.operations[name]()

    def finish(self) -> None:
        """Each succeeds, if need be when it is asked once more; and its pod goes."""
        for thread in self._threads:
            thread.join(60)
        for name, first in self._results.items():
            if first.returncode != 0:
                again = self.operations[name]()
                assert again.returncode == 0, (name, first.stderr, again.stderr)
        for pod in self.node.json("pods", "-o", "json")["items"]:
            if pod["metadata"]["name"] in self.operations:
                self.node.crictl("rmp", "-f", pod["id"])


@pytest.mark.parametrize("part", ALONE)
def test_stop_in_the_middle(clean: Node, part: str) -> None:
    rng = random.Random(f"{SEED}-{part}")
    scene, work = Scene(clean, f"moving-{part.replace(' ', '-')}"), Work(clean)
    work.prepare()
    work.begin()
    signal.sigtimedwait([], rng.uniform(0.0, 0.15))
    since = Kill(clean, f"stopped {part}", NOTICED)
    pids = scene.stop((part,))
    scene.replaced(pids, since)
    work.finish()
    scene.prove()


@pytest.fixture(autouse=True)
def _nobody_stays_stopped(clean: Node) -> Iterator[None]:
    """What a failed test has left stopped would make every later one fail."""
    yield
    mark = f"CRIBUS_CONFIG={clean.config}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ours = mark in (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if ours and hung.stopped(int(folder.name)):
            os.kill(int(folder.name), signal.SIGCONT)
