"""Waiting for answers, and saying who did not answer."""

import asyncio
import socket
import time
from typing import Any

import pytest
from cribus.api import executor, images, manager, shimd
from cribus.api.cri.runtime import StatusResponse
from cribus.api.cri.stats import ImageFsInfoResponse
from cribus.cli import readiness
from cribus.cli.supervisor import configuration, control
from cribus.config import Gateway, Settings
from cribus.errors import DeadlineExceeded

from tests.unit.cli.conftest import Answers, Node

ANSWERS: Answers = {
    images.FS_INFO: lambda _: ImageFsInfoResponse(),
    executor.STATES: lambda _: executor.States(),
    shimd.LIST_SHIMS: lambda _: shimd.Shims(),
    manager.STATUS: lambda _: StatusResponse(),
}


def test_ready_when_all_answer(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "answers", lambda settings: True)
    monkeypatch.setattr(control, "programs", lambda settings: [])
    path = str(node.base / "gateway.sock")
    with node.serving(ANSWERS), socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        settings = Settings(node="unit", root=str(node.base), bus=node.settings.bus, gateway=Gateway(socket=path))
        took = asyncio.run(readiness.ready(settings, 10))
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
            asyncio.run(readiness.ready(settings, 1.0))
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
    asyncio.run(readiness._supervised(Settings()))
    assert [one[1] for one in asked] == ["b", "c"]
