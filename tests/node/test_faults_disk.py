"""Disks that get full under a node that runs."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cribus.api import events

from tests.disk import ext4, mounted
from tests.harness import Node, node, until
from tests.node.test_pull_full import filled

_MANY = 2000  # lines: more bytes than all pipes hold
_LONG = "x" * 200
WRITER = f"i=0; while [ ! -e /gate/open ]; do i=$((i+1)); echo line $i {_LONG}; echo $i >/gate/count; done; exit 7"


@pytest.fixture
def little(tmp_path: Path, clean: Node) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A pod's log directory with a disk of 8 MiB for itself, and what a pod's configuration says of it."""
    with mounted(ext4(tmp_path / "image", 8), tmp_path / "logs") as folder:
        yield folder, {"log_directory": str(folder)}
        clean.try_crictl("rmp", "-f", "-a")


def told(node: Node, kind: str, id: str) -> list[dict[str, Any]]:
    lines = node.cribus("events", "--since", "0").splitlines()
    return [one for one in map(json.loads, lines) if one["kind"] == kind and one["id"] == id]


def lines_of(log: Path) -> list[int]:
    """The numbers of the lines in the log; every line of it is whole."""
    found = [line.split() for line in log.read_text().splitlines()]
    assert all(len(one) == 6 and one[2:4] == ["F", "line"] for one in found)
    return [int(one[4]) for one in found]


def test_full_under_a_pods_log(clean: Node, little: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """The container is neither slowed nor ended, also when its shim is killed; when there is room its log goes
    on with whole lines; what is missing is told, by its cause and its size."""
    folder, config = little
    (gate := tmp_path / "gate").mkdir()
    pod = clean.pod("full-log", **config)
    mount = {"host_path": str(gate), "container_path": "/gate"}
    box = clean.container(pod, "full-log", "sh", "-c", WRITER, mounts=[mount], log_path="full.log")
    log = folder / "full.log"
    until(lambda: lines_of(log), 10, "the first line")

    def count() -> int:
        return int(until((gate / "count").read_text, 10, "a number"))  # it is empty while it is written

    with filled(folder, 0):
        until(lambda: told(clean, events.LOG_LOST, box), 10, "its loss is told")
        size = log.stat().st_size
        shim = clean.shim(pod)
        seen = count()
        until(lambda: count() > seen + _MANY, 60, "it goes on writing")
        assert clean.crictl("exec", "-s", box, "echo", "hi") == "hi"
        assert clean.shim(pod) == shim
        os.kill(shim, signal.SIGKILL)
        until(lambda: clean.shim(pod) != shim, 10, "the next shim")
        seen = count()
        until(lambda: count() > seen + _MANY, 60, "it goes on writing")
        assert log.stat().st_size - size < 65536
    until(lambda: log.stat().st_size > size + 65536, 10, "its log goes on")
    (gate / "open").touch()
    assert clean.exited(box)["exitCode"] == 7
    numbers = lines_of(log)
    assert numbers == sorted(set(numbers))
    missing = sum(len(f"line {k} {_LONG}\n") for k in set(range(1, count() + 1)) - set(numbers))
    assert missing > 200_000
    said = [one["detail"] for one in told(clean, events.LOG_LOST, box)]
    assert "No space left" in said[0]["cause"]
    whole = [int(one["lost_bytes"]) for one in said if not one["cause"]]
    # what the shim that was killed had lost by then is in no sum
    assert 200_000 < sum(whole) <= missing
    assert f"{whole[-1]} bytes of output of container full-log are not in its log" in clean.cribus(
        "why", pod, check=False
    )
    clean.crictl("rmp", "-f", pod)


@pytest.fixture(scope="module")
def cramped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Path]]:
    """A node whose bus has a disk of 24 MiB for what it stores."""
    base = tmp_path_factory.mktemp("cramped")
    (base / "node").mkdir()
    with mounted(ext4(base / "image", 24), base / "store") as store:

        def elsewhere(one: Node) -> None:
            (one.root / "bus").mkdir(parents=True)
            (one.root / "bus" / "jetstream").symlink_to(store)

        with node(base / "node", before=elsewhere) as one:
            yield one, store


def test_full_under_the_bus(cramped: tuple[Node, Path]) -> None:
    """Pods are run, asked, stopped and removed all the same, also by a manager that has just been started.
    When there is room again all that happened is told, and the records are those of the files."""
    one, store = cramped
    pod = one.pod("before")
    box = one.container(pod, "before", "sleep", "1000")
    with filled(store, 0):
        second = one.pod("meanwhile")
        short = one.container(second, "meanwhile", "sh", "-c", "exit 7")
        assert one.exited(short)["exitCode"] == 7
        assert one.crictl("exec", "-s", box, "echo", "hi") == "hi"
        one.crictl("stop", "-t", "0", box)
        one.crictl("rmp", "-f", second)
        os.kill(one.services()["manager"], signal.SIGKILL)
        until(lambda: one.try_crictl("inspect", box).returncode == 0, 30, "the next manager")
        assert one.exited(box)["exitCode"] == 137
        nats = one.services()["nats"]
        os.kill(nats, signal.SIGKILL)
        until(lambda: one.services()["nats"] not in (nats, 0), 30, "the next nats-server")
        assert one.crictl("ps", "-a", "-q") == box
        third = one.pod("later")
        one.container(third, "later", "sleep", "1000")
        last = one.crictl("ps", "-q")

    until(lambda: told(one, events.CONTAINER_STARTED, last), 30, "what happened is told")
    assert told(one, events.CONTAINER_REMOVED, short)
    assert [event["exit_code"] for event in told(one, events.CONTAINER_STOPPED, box)] == [137]
    kept = {f"sandboxes.{pod}", f"sandboxes.{third}", f"containers.{box}", f"containers.{last}"}
    until(lambda: set(one.records()) == kept, 10, f"the records {kept}")
    one.crictl("rmp", "-f", "-a")
    one.assert_clean()
