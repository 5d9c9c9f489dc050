"""What supervisord sees of nats-server, and what it does about a process that no kill ends."""

import asyncio
import os
import signal
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cribus import hung
from cribus.bus import credentials, service, subjects
from cribus.cli.supervisor import configuration, watch
from cribus.config import Bus, Settings
from cribus.linux import process
from cribus.pulse import GENERATION, Page

from tests.harness import free_port, until


def _beat(asked: watch.Bus) -> int:
    asked.ask()
    return asked.beat


def test_nats_server_answers_until_it_is_stopped(tmp_path: Path) -> None:
    settings = Settings(node="unit", root=str(tmp_path), bus=Bus(listen=f"127.0.0.1:{free_port()}"))
    asked = watch.Bus(settings.bus.listen, str(credentials.directory(settings) / "cli.json"))
    conf = credentials.ensure(settings)
    asked.ask()
    assert asked.beat == 0, "it does not run"
    server = subprocess.Popen([configuration.nats_server(), "-c", str(conf)], stderr=subprocess.DEVNULL)
    try:
        until(lambda: _beat(asked), 10, "it answers")
        first = asked.beat
        until(lambda: _beat(asked) > first, 10, "it answers again")
        server.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, server.pid, os.WSTOPPED)
        asked.ask()
        last = asked.beat
        for _ in range(20):
            asked.ask()
        assert asked.beat == last
        server.send_signal(signal.SIGCONT)
        until(lambda: _beat(asked) > last, 10, "it goes on")
    finally:
        asked.close()
        server.kill()
        server.wait(10)


def test_a_nats_server_that_stores_nothing_is_known_by_complaints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is to be started again as soon as there is room, not before."""
    settings = Settings(node="unit", root=str(tmp_path), bus=Bus(listen=f"127.0.0.1:{free_port()}"))
    conf = credentials.ensure(settings)
    asked = watch.Bus(settings.bus.listen, str(credentials.directory(settings) / "cli.json"), subjects.stuck("unit"))
    server = subprocess.Popen([configuration.nats_server(), "-c", str(conf)], stderr=subprocess.DEVNULL)

    async def complain() -> None:
        async with service.connect(settings, "manager") as bus:
            await bus.connection.send(subjects.stuck("unit", "manager"), b"")
            await bus.connection.nats.flush()

    def wedged() -> str:
        asked.ask()
        return asked.wedged()

    try:
        until(lambda: _beat(asked), 10, "it answers")
        assert wedged() == ""
        asyncio.run(complain())
        assert "its disk has room" in until(wedged, 10, "the complaint")
        assert wedged() == ""
        monkeypatch.setattr(watch, "_ROOM", 1 << 60)
        asyncio.run(complain())
        beat = asked.beat
        until(lambda: _beat(asked) > beat, 10, "what was said before its answer is here")
        assert wedged() == ""
    finally:
        asked.close()
        server.kill()
        server.wait(10)


class Program:
    """A service as supervisord has it."""

    def __init__(self, pid: int) -> None:
        self.config = SimpleNamespace(name="a", environment={"x": "y"})
        self.pid = pid
        self.state = 20
        self.finished: list[tuple[int, int]] = []

    def finish(self, pid: int, status: int) -> None:
        self.finished.append((pid, status))
        self.pid = 0


@pytest.fixture
def page(tmp_path: Path) -> Page:
    (tmp_path / "supervisor").mkdir()
    return Page(str(tmp_path))


def _watchman(page: Page, program: Program) -> tuple[watch.Watchman, Any]:
    said: list[str] = []
    options = SimpleNamespace(pidhistory={program.pid: program}, logger=SimpleNamespace(warn=said.append))
    group = SimpleNamespace(processes={"a": program})
    supervisor = SimpleNamespace(process_groups={"g": group}, options=options, said=said)
    return watch.Watchman(supervisor, page, None), supervisor


def test_each_start_is_told_its_generation(page: Page) -> None:
    program = Program(0)
    watchman, _ = _watchman(page, program)
    watchman.begin(program)
    first = page.generation("a")
    watchman.begin(program)
    assert program.config.environment == {"x": "y", GENERATION: str(page.generation("a"))}
    assert page.generation("a") > first


def test_what_a_kill_does_not_end_gets_a_successor_beside_it(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program(4242)
    watchman, supervisor = _watchman(page, program)
    watchman.begin(program)
    page.strike("a")
    killed: list[int] = []
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("time.monotonic", lambda: clock.now)
    monkeypatch.setattr(process, "work", lambda pid: ("D", 0.0))
    monkeypatch.setattr(hung, "kill_pid", killed.append)
    for _ in range(30):
        clock.now += 1.0
        watchman.look()
        if program.finished:
            break
    assert killed == [4242]
    assert program.finished == [(4242, signal.SIGKILL)]
    assert supervisor.options.pidhistory == {}, "its end, should it come, is nobody's"
    assert page.hangs("a")[0] == 1
    assert "cannot be killed" in supervisor.said[-1]


def test_by_what_nats_server_is_asked_is_in_the_configuration() -> None:
    with_bus = configuration.text(Settings(node="unit", root="/r"))
    assert "bus=127.0.0.1:4622\ncredentials=/r/bus/cli.json\nstuck=cribus.unit.stuck.*\n" in with_bus
    assert "credentials=" not in configuration.text(Settings(node="unit", bus=Bus(url="nats://elsewhere:4222")))


def test_a_bus_whose_greeting_never_comes(tmp_path: Path) -> None:
    """A stopped server's kernel still takes connections."""
    (tmp_path / "cli.json").write_text('{"user": "u", "password": "p"}')
    with socket.create_server(("127.0.0.1", 0)) as listener:
        asked = watch.Bus(f"127.0.0.1:{listener.getsockname()[1]}", str(tmp_path / "cli.json"))
        for _ in range(5):
            asked.ask()
        assert asked.beat == 0
        asked.close()
        taken, _ = listener.accept()
        with taken:
            assert taken.recv(4096) == b"", "who asks before it has greeted is thrown out"
