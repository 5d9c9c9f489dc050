"""What is decided; with real keepers it is tests/chaos/test_adoption.py."""

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest
from cribus.errors import NotFound
from cribus.executor import found, state
from cribus.executor.node import Node
from cribus.kept import Kept
from cribus.linux import process

SPEC = {
    "annotations": {"io.kubernetes.cri.sandbox-id": "p"},
    "linux": {"cgroupsPath": "/there/p/c"},
}


@pytest.fixture
def keeper(node: Node, monkeypatch: pytest.MonkeyPatch) -> int:
    """Somebody who stands for the container's keeper: this very process."""
    monkeypatch.setattr(process, "named", lambda name: [os.getpid()] if name == "keeper" else [])
    monkeypatch.setattr(process, "home", lambda pid: node.bundle("c"))
    return os.getpid()


def test_who_keeps_which_container(node: Node, keeper: int) -> None:
    assert found.living(node) == {"c": keeper}


def test_keepers_of_another_node(node: Node, keeper: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "home", lambda pid: "/run/other/containers/c")
    assert found.living(node) == {}


def test_one_of_which_nothing_is_known(node: Node) -> None:
    with pytest.raises(NotFound, match="not known to the executor"):
        asyncio.run(found.known(node, "c"))


def test_what_its_record_must_have_been(node: Node) -> None:
    Path(node.bundle("c"), "config.json").write_text(json.dumps(SPEC))
    child = subprocess.Popen(["sleep", "1000"])
    try:
        record = found._again(node, "c", os.getpid(), child.pid)
        assert (record.pod, record.cgroup, record.pid, record.ready) == ("p", "/there/p/c", child.pid, True)
        assert state.alive(record)
        assert record.started_at == record.created_at > 0
        assert record.keeper_started == process.start_time(os.getpid())
    finally:
        child.kill()
        child.wait()


def test_of_one_that_waits_at_its_barrier(node: Node) -> None:
    fifo = os.open(f"{node.bundle('c')}/start", os.O_RDWR)
    child = subprocess.Popen(["sleep", "1000"], pass_fds=[fifo])
    os.unlink(f"{node.bundle('c')}/start")
    try:
        record = found._again(node, "c", os.getpid(), child.pid)
        assert (record.ready, record.started_at, record.pid) == (False, 0, child.pid)
    finally:
        child.kill()
        child.wait()
        os.close(fifo)


def test_of_one_that_has_ended(node: Node) -> None:
    Path(node.bundle("c"), "exit.json").write_text('{"code":3,"signal":0,"at":77}')
    record = found._again(node, "c", os.getpid(), -1)
    assert (record.ready, record.started_at, record.pid) == (True, 77, 0)
    state.save(node.bundle("c"), record)
    told = state.read(node, "c")
    assert (told.status, told.exit_code, told.exited_at) == ("stopped", 3, 77)


@pytest.mark.parametrize("lost", ["", "state.json", "config.json", "keeper.sock", "exit.json"])
def test_what_is_missing_or_spoilt(node: Node, lost: str) -> None:
    bundle = Path(node.bundle("c"))
    state.save(str(bundle), state.Record(container="c", ready=True))
    (bundle / "config.json").write_text("{}")
    (bundle / "keeper.sock").touch()
    (bundle / "exit.json").write_text('{"code":0}')
    assert found._complete(node, "c")
    if lost:
        (bundle / lost).unlink()
        assert not found._complete(node, "c")
    if lost.endswith(".json"):
        (bundle / lost).write_bytes(b'{"cut')
        assert not found._complete(node, "c")


def test_one_that_cannot_be_restored_is_no_end(node: Node, keeper: int, caplog: pytest.LogCaptureFixture) -> None:
    """This process does not listen; the others are still looked for."""
    node.kept = Kept(node.run)
    node.kept.put("c", b"{}", json.dumps(SPEC).encode())
    import signal

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    found._PATIENCE, patience = 0.05, found._PATIENCE
    try:
        asyncio.run(found.restore_all(node))
    finally:
        found._PATIENCE = patience
        signal.signal(signal.SIGHUP, before)
    assert json.loads(Path(node.bundle("c"), "config.json").read_text()) == SPEC
    assert "a container that runs is not found again" in [one.message for one in caplog.records]
