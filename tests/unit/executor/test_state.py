import os
from pathlib import Path

import pytest
from cribus.api import shim
from cribus.errors import NotFound
from cribus.executor import state
from cribus.executor.node import Held, Node
from cribus.linux import namespaces, process


def record(**more: object) -> state.Record:
    own = os.getpid()
    return state.Record(container="c", pid=own, started=process.start_time(own), ready=True, **more)  # type: ignore[arg-type]


def test_unknown(node: Node) -> None:
    with pytest.raises(NotFound):
        state.read(node, "c")
    assert (state.every(node).containers, state.every(node).pods) == ([], [])


def test_a_torn_record_is_none(node: Node) -> None:
    Path(node.bundle("c"), state.FILE).write_text("{")
    assert state.load(node.bundle("c")) is None


def test_the_kernel_wins(node: Node) -> None:
    bundle = node.bundle("c")
    state.save(bundle, record())
    assert state.read(node, "c").status == "running"  # nobody waits at the fifo
    fifo = os.open(f"{bundle}/start", os.O_RDWR)
    assert state.read(node, "c").status == "created"
    os.close(fifo)
    state.changed(bundle, record(), started=1)
    found = state.read(node, "c")
    assert (found.status, found.pid, found.exit_known) == ("stopped", record().pid, False)
    state.changed(bundle, record(), ready=False)
    assert state.read(node, "c").status == "creating"


def test_what_may_have_run_and_has_ended_was_started_though_nobody_noted_it(node: Node) -> None:
    state.save(node.bundle("c"), state.Record(container="c", ready=True))
    assert state.read(node, "c").started_at == 0
    going = Path(node.bundle("c"), shim.GOING)
    going.touch()
    assert state.read(node, "c").started_at == going.stat().st_mtime_ns


def test_exit_from_the_keeper(node: Node) -> None:
    state.save(node.bundle("c"), state.Record(container="c", ready=True))
    Path(node.bundle("c"), "exit.json").write_text('{"code":3,"signal":0,"at":77}')
    found = state.read(node, "c")
    assert (found.exit_known, found.exit_code, found.exited_at) == (True, 3, 77)


def test_exit_from_the_kernel_when_the_keeper_was_killed(node: Node) -> None:
    state.save(node.bundle("c"), state.Record(container="c", ready=True))
    pid, pidfd = namespaces.clone3()
    if pid == 0:
        os._exit(6)
    os.waitpid(pid, 0)
    node.hold("c", Held(pidfd, -1))
    assert state.read(node, "c").exit_code == 6
    assert '"code": 6' in Path(node.bundle("c"), "exit.json").read_text()
    node.let_go("c")


def test_an_orphan_that_was_init_of_a_container(node: Node) -> None:
    state.save(node.bundle("c"), record())
    ours = record()
    state.orphaned(node, ours.pid, ours.started + 1, 5 << 8)
    assert not Path(node.bundle("c"), "exit.json").exists()
    state.orphaned(node, ours.pid, ours.started, 5 << 8)
    state.orphaned(node, ours.pid, ours.started, 6 << 8)  # the first witness counts
    assert '"code": 5' in Path(node.bundle("c"), "exit.json").read_text()
