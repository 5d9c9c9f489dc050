"""What the kernel says of a process that does not get on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cribus.cli.story import kernel

from tests.harness import until


def _seen(*pids: int) -> list[dict[str, Any]]:
    argv = [sys.executable, "-m", "cribus.cli.story.kernel", *map(str, pids)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_stopped_process_is_seen_and_an_idle_one_is_not() -> None:
    idle = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    try:
        until(lambda: "pause" in Path(f"/proc/{idle.pid}/wchan").read_text() or _asleep(idle.pid), 10, "it is idle")
        assert _seen(idle.pid) == []
        idle.send_signal(signal.SIGSTOP)
        [hang] = _seen(idle.pid)
        assert (hang["pid"], hang["state"]) == (idle.pid, "T")
    finally:
        idle.kill()
        idle.wait()


def _asleep(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_a_program_that_a_service_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    program = subprocess.Popen(["sleep", "1000"], env={**os.environ, "CNI_CONTAINERID": "a" * 64})
    try:
        monkeypatch.setattr(kernel, "OLD", 0.0)
        monkeypatch.setattr(kernel, "APART", 0.05)
        until(lambda: "sleep" in Path(f"/proc/{program.pid}/cmdline").read_text(), 10, "it runs")
        [hang] = [one for one in kernel.hangs([os.getpid()]) if one["pid"] == program.pid]
        assert (hang["program"], hang["call"], hang["owner"]) == ("sleep 1000", "clock_nanosleep", "a" * 64)
        assert hang["since"] > 10**18
    finally:
        program.kill()
        program.wait()


def test_a_pipe_that_nobody_opens_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    monkeypatch.setattr(kernel, "APART", 0.05)
    blocked = subprocess.Popen([sys.executable, "-c", f"open({str(fifo)!r}, 'rb')"])
    try:
        found = until(lambda: list(kernel.hangs([blocked.pid])), 10, "it blocks")
        assert (found[0]["call"], found[0]["on"]) == ("openat", str(fifo))
    finally:
        blocked.kill()
        blocked.wait()


def test_what_has_gone_is_nothing() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert kernel.threads([gone.pid]) == {}
    assert kernel.below([gone.pid]) == [gone.pid]
