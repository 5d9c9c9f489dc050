"""SIGKILL to each process in turn, idle and at a moment of an operation that chance chooses, by real crictl.
After each single step, of every operation: test_matrix.py.

Afterwards the container still runs, every line is in its log once and in order, the retried call
succeeds, the API is whole again within two seconds, the exit code is right, and nothing is left.
"""

import os
import random
import signal
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.chaos.recovery import Kill
from tests.harness import SERVICES, Node, until

WRITER = "trap 'exit 42' TERM; i=0; while :; do i=$((i+1)); echo line $i; usleep 2000; done"
SEED = int(os.environ.get("CRIBUS_SEED", random.randrange(1 << 30)))
PARTS = (*SERVICES, "shim", "keeper")


class Victim:
    """A pod whose container numbers its lines."""

    def __init__(self, node: Node, name: str) -> None:
        self.node = node
        self.name = name
        self.pod = node.pod(name)
        self.container = node.container(self.pod, name, "sh", "-c", WRITER)
        until(lambda: node.log_lines(self.container), 5, "the first line")

    def pid(self, part: str) -> int:
        if part == "shim":
            return self.node.shim(self.pod)
        if part == "keeper":
            return self.node.keeper(self.container)
        return self.node.services()[part]

    def prove(self) -> None:
        """Alive, its log whole, and a true exit code at the end."""
        node = self.node
        seen = len(node.log_lines(self.container))
        until(lambda: len(node.log_lines(self.container)) > seen + 5, 5, "the log goes on")
        assert node.status(self.container)["state"] == "CONTAINER_RUNNING"
        node.crictl("stop", "-t", "5", self.container)
        assert node.status(self.container)["exitCode"] == 42
        lines = node.log_lines(self.container)
        assert lines == [f"line {k}" for k in range(1, len(lines) + 1)]
        node.crictl("rmp", "-f", self.pod)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _works(node: Node, call: tuple[str, ...]) -> bool:
    return node.try_crictl(*call).returncode == 0


def _whole_again(node: Node, container: str, kill: Kill) -> None:
    """Every kind of call works, soon enough."""
    for call in (("ps",), ("pods",), ("images",), ("exec", "-s", container, "true")):
        until(partial(_works, node, call), 10, f"crictl {call[0]} works")
    kill.over()


@pytest.mark.parametrize("part", PARTS)
def test_kill_while_idle(clean: Node, part: str) -> None:
    victim = Victim(clean, f"idle-{part}")
    pid = victim.pid(part)
    kill = Kill(clean, part)
    _kill(pid)
    _whole_again(clean, victim.container, kill)
    victim.prove()


OPERATIONS: dict[str, Callable[[Node, str], Any]] = {
    "run": lambda node, name: node.try_crictl("runp", str(node.pod_config(name))),
    "create": lambda node, name: _create(node, name),
    "start": lambda node, name: node.try_crictl("start", _created[name]),
    "exec": lambda node, name: node.try_crictl("exec", "-s", _created[name], "sh", "-c", "echo ok"),
    "stop": lambda node, name: node.try_crictl("stop", "-t", "1", _created[name]),
}
_created: dict[str, str] = {}
_pods: dict[str, str] = {}


def _create(node: Node, name: str) -> Any:
    config = node.container_config(f"{name}-c", "sleep", "1000")
    return node.try_crictl("create", _pods[name], str(config), str(node.base / f"{name}-pod.json"))


def _prepared(node: Node, operation: str, name: str) -> None:
    """What must be there before the operation."""
    if operation == "run":
        return
    _pods[name] = node.pod(name)
    if operation != "create":
        done = _create(node, name)
        assert done.returncode == 0, done.stderr
        _created[name] = done.stdout.strip()
    if operation in ("exec", "stop"):
        node.crictl("start", _created[name])


@pytest.mark.parametrize("part", PARTS)
def test_kill_in_the_middle(clean: Node, part: str) -> None:
    rng = random.Random(f"{SEED}-{part}")
    operation = rng.choice(list(OPERATIONS))
    print(f"CRIBUS_SEED={SEED}")
    victim = Victim(clean, f"mid-{part}-{operation}")
    name = f"op-{part}-{operation}"
    _prepared(clean, operation, name)
    pid = victim.pid(part)
    results: list[Any] = []
    worker = threading.Thread(target=lambda: results.append(OPERATIONS[operation](clean, name)))
    worker.start()
    signal.sigtimedwait([], rng.uniform(0.0, 0.08))
    _kill(pid)
    worker.join(60)
    [first] = results
    if first.returncode != 0:
        until(lambda: clean.try_crictl("version").returncode == 0, 10, "it can be asked again")
        again = OPERATIONS[operation](clean, name)
        assert again.returncode == 0, (first.stderr, again.stderr)
    _whole_again(clean, victim.container, Kill(clean, part))
    for pod in clean.json("pods", "-o", "json")["items"]:
        if pod["metadata"]["name"] == name:
            clean.crictl("rmp", "-f", pod["id"])
    victim.prove()
