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
from tests.harness import Node, until
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
