"""What needs no container; the rest is in tests/node/test_executor.py with runc."""

import asyncio
import logging
from pathlib import Path

import pytest
from cribus.errors import Internal
from cribus.executor.node import Node
from cribus.executor.runtimes import command, external
from cribus.executor.runtimes.external import External
from cribus.executor.state import Record

from tests.unit.executor.forks import Forks


@pytest.fixture
def where(node: Node) -> Path:
    node.server = Forks()  # type: ignore[assignment]
    found = Path(command.home(node, "c"))
    (found / "root" / "c").mkdir(parents=True)
    return found


def runtime(where: Path, script: str) -> Record:
    path = where / "runtime"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return Record(container="c", runtime=[str(path)])


def test_a_repeated_start_is_content(node: Node, where: Path) -> None:
    tells = """while [ $# -gt 2 ]; do shift; done; [ $1 = state ] && echo '{"status": "%s"}'"""
    asyncio.run(External().start(node, runtime(where, tells % "running")))
    with pytest.raises(Internal, match="runtime start"):
        asyncio.run(External().start(node, runtime(where, tells % "created")))


def test_a_signal_to_one_that_has_ended(node: Node, where: Path) -> None:
    asyncio.run(External().signal(node, runtime(where, "exit 1"), 15))


def test_rubbish_for_a_state(node: Node, where: Path) -> None:
    with pytest.raises(Internal, match="as runtimes do"):
        asyncio.run(external.status(node, runtime(where, "echo hello")))


def test_traces_go_with_a_runtime_that_fails(node: Node, where: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        asyncio.run(External().clear(node, runtime(where, "echo cannot; exit 1")))
        asyncio.run(External().clear(node, Record(container="c", runtime=["/nowhere"])))
    assert not where.exists()
    assert [one.message for one in caplog.records] == ["not deleted by its runtime"]


def test_one_that_hangs_is_asked_once(
    node: Node, where: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(command._BRIEF, "delete", 0.3)
    asked = where.parent / "asked"
    with caplog.at_level(logging.WARNING):
        asyncio.run(External().clear(node, runtime(where, f"echo x >> {asked}; exec sleep 60")))
    assert asked.read_text() == "x\n"
    assert not where.exists()
    assert caplog.records[0].cause == "runtime delete hung, and was killed after 0.3 s"  # type: ignore[attr-defined]
