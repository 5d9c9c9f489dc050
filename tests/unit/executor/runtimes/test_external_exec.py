"""With a shell script in the runtime's place; with real ones in tests/node/test_executor.py."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from cribus.api.executor import Exec
from cribus.errors import DeadlineExceeded, FailedPrecondition, NotFound
from cribus.executor.node import Node
from cribus.executor.runtimes import command, external_exec
from cribus.executor.state import Record
from cribus.linux import process

from tests.unit.executor.forks import Forks

SPEC = {"process": {"args": ["init"], "env": ["A=1"], "cwd": "/home", "user": {"uid": 5}}}
RUNS = """
while [ $# -gt 1 ]; do
  case $1 in --process) cp $2 {seen};; --pid-file) file=$2;; esac
  shift
done
sleep 0 & echo $! > $file
"""
FAILS = """
while [ $# -gt 1 ]; do [ "$1" = --log ] && log=$2; shift; done
echo '{"level":"error","msg":"exec: \\"nope\\": executable file not found in $PATH"}' > $log; exit 255
"""


class Shim:
    def __init__(self) -> None:
        self.pid = 0

    def forked(self, pid: int, pidfd: int) -> None:
        self.pid = pid


def ran(node: Node, tmp_path: Path, script: str, *, lives: bool = True) -> tuple[int, int]:
    """(the pid of the answer, the pid that the shim was told)."""
    node.server = Forks()  # type: ignore[assignment]
    where = Path(command.home(node, "c"))
    where.mkdir(parents=True, exist_ok=True)
    Path(node.bundle("c"), "config.json").write_text(json.dumps(SPEC))
    runtime = tmp_path / "runtime"
    runtime.write_text(f"#!/bin/sh\n{script}")
    runtime.chmod(0o755)
    shim: Any = Shim()
    four = [os.open("/dev/null", os.O_RDWR) for _ in range(3)]
    exit_read, exit_write = os.pipe()
    ask = Exec(container="c", pod="p", exec_id="e", args=["x"], env=["B=2"], cwd="/tmp")
    try:
        init = os.getpid() if lives else 0
        record = Record(container="c", runtime=[str(runtime)], pid=init, started=process.start_time(os.getpid()))
        made = asyncio.run(external_exec.run(node, ask, record, (shim, [*four, exit_write])))
        return made.pid, shim.pid
    finally:
        for fd in (*four, exit_read, exit_write):
            os.close(fd)
        assert list(where.iterdir()) == []


def test_the_process_is_the_containers_but_for_what_is_asked(node: Node, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    pid, told = ran(node, tmp_path, RUNS.replace("{seen}", str(seen)))
    assert pid == told > 0
    assert json.loads(seen.read_text()) == {
        "args": ["x"], "env": ["A=1", "B=2"], "cwd": "/tmp", "user": {"uid": 5}, "terminal": False,
    }  # fmt: skip


def test_the_runtimes_reason(node: Node, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"^runtime exec: exec"):
        ran(node, tmp_path, FAILS)
    with pytest.raises(FailedPrecondition, match="has just ended"):
        ran(node, tmp_path, FAILS, lives=False)


def test_one_that_hangs(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external_exec, "_DEADLINE", 0.3)
    with pytest.raises(DeadlineExceeded, match=r"^runtime exec hung, and was killed after 0\.3 s$"):
        ran(node, tmp_path, "sleep 1; exit 3")
