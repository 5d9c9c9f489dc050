"""`up` makes what a node needs, waits for answers, and says who did not answer."""

import asyncio
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cribus.api import executor, images, manager, shimd
from cribus.api.cri.runtime import StatusResponse
from cribus.api.cri.stats import ImageFsInfoResponse
from cribus.cli import up
from cribus.cli.supervisor import configuration, control
from cribus.config import Bus, Gateway, Settings
from cribus.errors import DeadlineExceeded, FailedPrecondition

from tests.unit.cli.conftest import Answers, Node

ANSWERS: Answers = {
    images.FS_INFO: lambda _: ImageFsInfoResponse(),
    executor.STATES: lambda _: executor.States(),
    shimd.LIST_SHIMS: lambda _: shimd.Shims(),
    manager.STATUS: lambda _: StatusResponse(),
}


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


def test_ready_when_all_answer(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "answers", lambda settings: True)
    monkeypatch.setattr(control, "programs", lambda settings: [])
    path = str(node.base / "gateway.sock")
    with node.serving(ANSWERS), socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        settings = Settings(node="unit", root=str(node.base), bus=node.settings.bus, gateway=Gateway(socket=path))
        took = asyncio.run(up.ready(settings, 10))
        assert sorted(took) == ["executor", "gateway", "images", "manager", "nats", "shimd"]


def test_who_did_not_answer(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "answers", lambda settings: True)
    monkeypatch.setattr(control, "programs", lambda settings: [])
    with node.serving({verb: give for verb, give in ANSWERS.items() if verb != shimd.LIST_SHIMS}):
        settings = Settings(node="unit", root=str(node.base), bus=node.settings.bus, gateway=Gateway(socket="/none"))
        configuration.logs(settings).mkdir()
        (configuration.logs(settings) / "shimd.log").write_text("one\nwhy it failed\n")
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded) as caught:
            asyncio.run(up.ready(settings, 1.0))
        assert time.monotonic() - began < 3
        assert "shimd, gateway did not answer" in caught.value.message
        assert "shimd: why it failed" in caught.value.message


def test_what_was_stopped_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    states = {"a": "RUNNING", "b": "FATAL", "c": "STOPPED"}
    programs = [control.Program(name, state, 0, 0, 0) for name, state in states.items()]
    monkeypatch.setattr(control, "answers", lambda settings: True)
    monkeypatch.setattr(control, "programs", lambda settings: programs)
    monkeypatch.setattr(control, "ask", lambda settings, *question: asked.append(question))
    asyncio.run(up._supervised(Settings()))
    assert [one[1] for one in asked] == ["b", "c"]


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
