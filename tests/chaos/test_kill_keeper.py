"""Keepers killed, alone and with others: what they held goes on elsewhere, and exit codes are right."""

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import harness
from tests.chaos.test_kill import WRITER
from tests.harness import Node, until

SEED = int(os.environ.get("CRIBUS_SEED", random.randrange(1 << 30)))


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node on a kernel that does not remember how processes ended."""

    def forgetful(one: Node) -> None:
        one.env["CRIBUS_NO_EXIT_INFO"] = "1"

    with harness.node(tmp_path_factory.mktemp("old"), before=forgetful) as one:
        yield one
        one.assert_clean()


def listener(node: Node, container: str) -> int:
    """Who keeps the container's descriptors now; 0 if nobody does."""
    try:
        return node.holder(container)
    except OSError:
        return 0


def kill_keeper(node: Node, container: str) -> None:
    pid = listener(node, container)
    os.kill(pid, signal.SIGKILL)
    until(lambda: listener(node, container) not in (0, pid), 10, "another stands in")


def lines_go_on(node: Node, container: str) -> None:
    seen = len(node.log_lines(container))
    until(lambda: len(node.log_lines(container)) > seen + 3, 10, "the log goes on")


def test_keeper_and_shim_in_any_order(clean: Node) -> None:
    print(f"CRIBUS_SEED={SEED}")
    rng = random.Random(SEED)
    pod = clean.pod("orders")
    container = clean.container(pod, "orders", "sh", "-c", WRITER)
    for _ in range(6):
        lines_go_on(clean, container)
        if rng.random() < 0.6:
            kill_keeper(clean, container)
        else:
            os.kill(clean.shim(pod), signal.SIGKILL)
    lines_go_on(clean, container)
    clean.crictl("stop", "-t", "5", container)
    assert clean.status(container)["exitCode"] == 42
    lines = clean.log_lines(container)
    assert lines == [f"line {k}" for k in range(1, len(lines) + 1)]
    clean.crictl("rmp", "-f", pod)


def test_keeper_and_shim_at_once(clean: Node) -> None:
    pod = clean.pod("at-once")
    container = clean.container(pod, "at-once", "sh", "-c", WRITER)
    lines_go_on(clean, container)
    shim = clean.shim(pod)
    os.kill(shim, signal.SIGSTOP)  # it may not put another keeper in the place of this one
    for pid in (clean.keeper(container), shim):
        os.kill(pid, signal.SIGKILL)
    lines_go_on(clean, container)
    assert clean.crictl("exec", "-s", container, "echo", "hi") == "hi"
    os.kill(clean.json("inspect", container)["info"]["pid"], signal.SIGTERM)
    assert clean.exited(container)["exitCode"] == 42
    numbers = [int(line.removeprefix("line ")) for line in clean.log_lines(container)]
    assert numbers == sorted(set(numbers))
    clean.crictl("rmp", "-f", pod)


@pytest.mark.parametrize("victims", [(), ("keeper",), ("shim", "keeper"), ("keeper", "shim"), ("keeper", "keeper")])
def test_exit_codes_where_the_kernel_forgets_them(old: Node, victims: tuple[str, ...]) -> None:
    name = "-".join(("old", *victims))
    pod = old.pod(name)
    container = old.container(pod, name, "sh", "-c", WRITER)
    for victim in victims:
        lines_go_on(old, container)
        if victim == "keeper":
            kill_keeper(old, container)
        else:
            os.kill(old.shim(pod), signal.SIGKILL)
    lines_go_on(old, container)
    assert old.try_crictl("exec", "-s", container, "sh", "-c", "exit 7").returncode != 0
    os.kill(old.json("inspect", container)["info"]["pid"], signal.SIGTERM)
    assert old.exited(container)["exitCode"] == 42
    events = Path(old.run_dir / "pods" / pod / "exits")
    until(lambda: not list(events.iterdir()), 5, "its end was told")
    old.crictl("rmp", "-f", pod)
