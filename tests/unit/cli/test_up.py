"""`up` makes what a node needs, and leaves a guard behind before it loads what talks with the bus."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cribus.cli import up
from cribus.cli.supervisor import configuration
from cribus.config import Bus, Settings
from cribus.errors import FailedPrecondition


def _settings(base: Path) -> Settings:
    return Settings(node="unit", root=str(base / "root"), run=str(base / "run"))


def test_what_is_prepared(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    up.prepare(settings)
    first = (tmp_path / "root" / "bus" / "cli.json").read_text()
    up.prepare(settings)
    assert (tmp_path / "root" / "bus" / "cli.json").read_text() == first
    assert stat.S_IMODE(os.stat(configuration.directory(settings)).st_mode) == 0o700
    assert "[program:manager]" in (tmp_path / "run" / "supervisor" / "supervisord.conf").read_text()


def test_credentials_of_somebody_elses_bus_are_not_made(tmp_path: Path) -> None:
    settings = Settings(node="unit", root=str(tmp_path), run=str(tmp_path), bus=Bus(url="nats://elsewhere"))
    up.prepare(settings)
    assert not (tmp_path / "bus").exists()


def test_root_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(FailedPrecondition, match="sudo"):
        up.prepare(_settings(tmp_path))


def test_a_guard_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[Any] = []
    monkeypatch.setattr(subprocess, "Popen", lambda argv, **how: started.append((argv, how)))
    settings = _settings(tmp_path)
    up.prepare(settings)
    up.guard(settings)
    [(argv, how)] = started
    assert argv[0] == sys.executable
    assert argv[-1].endswith("/supervisor/supervisord.conf")
    assert how["start_new_session"]
    assert how["cwd"] == "/"


def test_nothing_that_takes_long_is_loaded_before_the_guard_is_started() -> None:
    script = "import sys, cribus.cli.up; print(*{'asyncio', 'nats', 'logging', 'http'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "\n"


def test_a_command_keeps_its_collector() -> None:
    script = "import gc, cribus.cli.chaos, cribus.cli.upgrade; assert gc.isenabled()"
    subprocess.run([sys.executable, "-c", script], check=True)
