"""The clock is set, three days on and five days back, under a node at work and while its processes are replaced.

Each process of the node is shown another clock by libfaketime, because the machine's is everybody's; nats-server,
containers and crictl have none of it, as if they were on machines whose clocks were set otherwise. What is not shown
is what the kernel itself does with the time that is set.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests import harness
from tests.harness import Node, until

ON, BACK = 3 * 86400, -5 * 86400
WRITER = "trap 'sleep 1; exit 42' TERM; i=0; while :; do i=$((i+1)); echo line $i; usleep 5000; done"


class Clock:
    """What the node's processes see: so many seconds beside the machine's clock."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.set(0)

    def laid_for(self, node: Node) -> None:
        """Before it is started."""
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
        node.env |= {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def set(self, seconds: int) -> None:
        """By rename: nobody reads half a number."""
        half = self._file.with_suffix(".new")
        half.write_text(f"{seconds:+d}\n")
        half.rename(self._file)
        self.beside = seconds

    def now(self) -> float:
        return time.time() + self.beside


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    return Clock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[Node]:
    with harness.node(tmp_path_factory.mktemp("timed"), before=clock.laid_for) as one:
        yield one


@pytest.fixture
def node(timed: Node, clock: Clock) -> Iterator[Node]:
    yield timed
    clock.set(0)
    timed.assert_clean()


def _said_at(node: Node, container: str) -> list[float]:
    """When the log says that each line was written."""
    text = Path(node.status(container)["logPath"]).read_text()
    stamps = [line.split()[0].rstrip("Z") for line in text.splitlines()]
    return [datetime.fromisoformat(f"{stamp[:26]}+00:00").timestamp() for stamp in stamps]


def _writing(node: Node, container: str) -> None:
    seen = len(node.log_lines(container))
    until(lambda: len(node.log_lines(container)) > seen + 5, 10, "the log goes on")


class Scene:
    """A pod whose container numbers its lines, another that ends when it is told, an exec and a stop under way."""

    def __init__(self, node: Node, name: str) -> None:
        self.node = node
        self.name = name
        self.pod = node.pod(name)
        self.writer = node.container(self.pod, f"{name}-writer", "sh", "-c", WRITER)
        self.stopped = node.container(
            self.pod, f"{name}-stopped", "sh", "-c", "trap 'sleep 1; exit 7' TERM; while :; do usleep 5000; done"
        )
        self.services = node.services()
        self.shim = node.shim(self.pod)
        self._results: dict[str, str] = {}
        self._late = 0

    def across(self, change: Callable[[], None]) -> None:
        """The clock is set in the middle of calls with a deadline and of one with a grace period."""
        calls = {
            "exec": ("exec", "-s", "--timeout", "20", self.writer, "sh", "-c", "sleep 1; echo done"),
            "stop": ("stop", "-t", "20", self.stopped),
        }

        def call(what: str) -> None:
            self._results[what] = self.node.crictl(*calls[what])

        threads = [threading.Thread(target=call, args=(what,)) for what in calls]
        for one in threads:
            one.start()
        signal.sigtimedwait([], 0.4)
        change()
        for one in threads:
            one.join()
        assert self._results["exec"] == "done"
        assert self.node.status(self.stopped)["exitCode"] == 7, "its grace period was not cut short"

    def works(self) -> None:
        """Everything that can be asked, with processes that were started before and after the clock was set."""
        self._late += 1
        node, name = self.node, f"{self.name}-late{self._late}"
        pod = node.pod(name)
        container = node.container(pod, name, "sh", "-c", "echo here; exit 3")
        status = node.exited(container)
        assert status["exitCode"] == 3
        assert int(status["finishedAt"].replace("-", "")[:8]) >= 20200101
        until(lambda: node.log_lines(container) == ["here"], 10, "its output")
        assert node.crictl("exec", "-s", self.writer, "echo", "hi") == "hi"
        assert "hangs" not in node.cribus("doctor", check=False)
        _writing(node, self.writer)
        node.crictl("rmp", "-f", pod)

    def nobody_was_replaced(self) -> None:
        assert self.node.services() == self.services
        assert self.node.shim(self.pod) == self.shim

    def kill(self) -> None:
        """Everybody; the next ones find files, records and messages of another time."""
        node = self.node
        for pids in ([node.shim(self.pod)], [node.holder(self.writer)], [*self.services.values()]):
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            until(lambda: node.try_crictl("exec", "-s", self.writer, "true").returncode == 0, 40, "it works again")

    def end(self) -> None:
        self.node.crictl("stop", "-t", "10", self.writer)
        assert self.node.status(self.writer)["exitCode"] == 42
        lines = self.node.log_lines(self.writer)
        assert lines == [f"line {k}" for k in range(1, len(lines) + 1)]
        self.node.crictl("rmp", "-f", self.pod)


@pytest.mark.parametrize("seconds", [ON, BACK], ids=["on", "back"])
def test_the_clock_is_set(node: Node, clock: Clock, seconds: int) -> None:
    scene = Scene(node, f"set{seconds}")
    before = clock.now()
    scene.across(lambda: clock.set(seconds))
    scene.works()
    scene.nobody_was_replaced()
    told = _said_at(node, scene.writer)
    assert abs(told[0] - before) < 600, "a line has the time that it was"
    assert abs(told[-1] - clock.now()) < 600
    scene.kill()
    scene.works()
    scene.end()


def test_the_clock_was_set_while_the_node_was_down(node: Node, clock: Clock) -> None:
    scene = Scene(node, "down")
    node.cribus("down")
    clock.set(BACK)
    node.up()
    _writing(node, scene.writer)
    scene.works()
    scene.end()
