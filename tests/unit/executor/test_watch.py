"""Keepers that are stopped go on; those that do not are killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cribus import hung
from cribus.executor.node import Node
from cribus.executor.watch import Keepers
from cribus.linux import process

KEEPER = """
import os, sys, time
from cribus.linux import fds
listener = fds.listen_at(os.open(sys.argv[1], os.O_PATH), "keeper.sock")
print("up", flush=True)
time.sleep(1000)
"""
Keep = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def keep(node: Node) -> Iterator[Keep]:
    """Start something that listens as a container's keeper."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(container: str) -> subprocess.Popen[bytes]:
        folder = Path(node.bundle(container))
        folder.mkdir(parents=True, exist_ok=True)
        one = subprocess.Popen([sys.executable, "-c", KEEPER, str(folder)], stdout=subprocess.PIPE)
        started.append(one)
        assert one.stdout
        assert one.stdout.readline() == b"up\n"
        return one

    yield begin
    for one in started:
        one.kill()
        one.communicate()


def _stop(one: subprocess.Popen[bytes]) -> None:
    one.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, one.pid, os.WSTOPPED)


def _looks(keepers: Keepers, count: int) -> None:
    for _ in range(2 * count):
        keepers.look()


def _written(node: Node, container: str, **fields: Any) -> None:
    record = {"container": container, "ready": True, **fields}
    (Path(node.bundle(container)) / "state.json").write_text(json.dumps(record))


def test_without_containers(node: Node) -> None:
    _looks(Keepers(node), 1)
    Path(node.bundle("c")).mkdir(parents=True, exist_ok=True)
    _looks(Keepers(node), 1)


def test_one_that_was_stopped_goes_on(node: Node, keep: Keep) -> None:
    one, other = keep("c"), keep("d")
    _written(node, "c", keeper=one.pid, keeper_started=process.start_time(one.pid))
    keepers = Keepers(node)
    _looks(keepers, 1)
    _stop(one)
    _looks(keepers, 1)
    assert not hung.stopped(one.pid)
    _looks(keepers, 10)
    assert (one.poll(), other.poll()) == (None, None)


def test_a_new_executor_looks_at_once(node: Node, keep: Keep) -> None:
    one = keep("c")
    _stop(one)
    Keepers(node).look()
    assert not hung.stopped(one.pid)


def test_one_that_stands_in_is_known_by_its_socket(node: Node, keep: Keep) -> None:
    first = keep("c")
    _written(node, "c", keeper=first.pid, keeper_started=process.start_time(first.pid))
    keepers = Keepers(node)
    _looks(keepers, 1)
    first.kill()
    first.wait()
    second = keep("c")
    _stop(second)
    _looks(keepers, 1)
    assert not hung.stopped(second.pid)


def test_one_that_stays_stopped_is_killed(node: Node, keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    one = keep("c")
    keepers = Keepers(node)
    monkeypatch.setattr(hung, "stopped", lambda pid: pid == one.pid)
    _looks(keepers, 4)
    assert one.poll() is None
    _looks(keepers, 1)
    assert one.wait(10) == -signal.SIGKILL
