"""A supervisord as the node runs it, with programs that only sleep."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cribus.cli import down
from cribus.cli.supervisor import configuration, control, daemon
from cribus.config import Bus, Settings

from tests.harness import until


class Supervised:
    """Two services, `a` and `b`, under a guard of their own."""

    def __init__(self, base: Path) -> None:
        self.settings = Settings(node="unit", root=str(base), run=str(base), bus=Bus(url="nats://nowhere"))
        self.folder = configuration.directory(self.settings)
        self.folder.mkdir()
        configuration.logs(self.settings).mkdir()
        self.conf = self.folder / "supervisord.conf"
        self.conf.write_text(configuration.text(self.settings))
        self.guards: list[subprocess.Popen[bytes]] = []

    def guard(self, *options: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "cribus.cli.supervisor.daemon", *options, str(self.conf)]
        one = subprocess.Popen(argv, cwd="/")
        self.guards.append(one)
        until(lambda: control.answers(self.settings), 10, "supervisord answers")
        return one

    def pids(self) -> dict[str, int]:
        return {one.name: one.pid for one in control.programs(self.settings)}

    def supervisord(self) -> int:
        return daemon.running(str(self.folder))

    def all_run(self) -> dict[str, int]:
        def found() -> dict[str, int]:
            pids = self.pids() if control.answers(self.settings) else {}
            return pids if pids and all(pids.values()) else {}

        pids: dict[str, int] = until(found, 10, "both run")
        return pids


@pytest.fixture
def supervised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervised]:
    monkeypatch.setattr(configuration, "PYTHON_SERVICES", ("a", "b"))
    monkeypatch.setattr(configuration, "_command", lambda settings, service: "sleep 1000")
    one = Supervised(tmp_path)
    yield one
    if one.supervisord():
        down.stop(one.settings)
    for guard in one.guards:
        guard.wait(10)
