"""A pod that numbers its lines while processes of its node are stopped, and somebody who works beside it."""

import os
import random
import signal
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from cribus import config, hung
from cribus.linux import process
from cribus.pulse import EVERY

from tests.chaos.recovery import Kill
from tests.chaos.victims import Victims
from tests.harness import Node, until

WRITER = "trap 'exit 42' TERM; i=0; while :; do i=$((i+1)); echo line $i; usleep 2000; done"
SEED = int(os.environ.get("CRIBUS_SEED", random.randrange(1 << 30)))
NOTICED = hung.PATIENCE + 2 * EVERY  # seconds


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
            until(partial(gone, pid), NOTICED + 30, f"{part} is replaced")
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


def gone(pid: int) -> bool:
    """Also one that nobody has reaped yet: whose children it falls to may take seconds for that."""
    return process.state(pid) in ("", "Z")


def _works(node: Node, call: tuple[str, ...]) -> bool:
    return node.try_crictl(*call).returncode == 0


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
