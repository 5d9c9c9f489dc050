"""One service is put in another's place, by the configuration of the moment; the others are not touched."""

import asyncio
from pathlib import Path

import pytest
from cribus.cli.supervisor import configuration, replace
from cribus.config import Settings

from tests.harness import until
from tests.unit.cli.supervisor.conftest import Supervised


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()


def test_one_is_replaced(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    supervised.guard()
    before = supervised.all_run()
    monkeypatch.setattr(configuration, "_command", lambda settings, service: "sleep 2000")
    configuration.write(supervised.settings, configuration.text(supervised.settings))
    asyncio.run(replace.replace(supervised.settings, "a"))
    after = until(lambda: (pids := supervised.pids()).get("a") and pids, 10, "a runs again")
    assert after["a"] != before["a"]
    assert after["b"] == before["b"]
    until(lambda: _command(after["a"]) == "sleep 2000", 10, "by its new command")
    assert _command(after["b"]) == "sleep 1000"
    assert replace.pid(supervised.settings, "a") == after["a"]


def test_one_that_does_not_run_is_started(supervised: Supervised) -> None:
    from cribus.cli.supervisor import control

    supervised.guard()
    supervised.all_run()
    control.ask(supervised.settings, "supervisor.stopProcess", "a")
    assert replace.pid(supervised.settings, "a") == 0
    asyncio.run(replace.replace(supervised.settings, "a"))
    supervised.all_run()


def test_by_which_python_a_configuration_runs() -> None:
    settings = Settings(node="unit")
    import sys

    assert replace.interpreter(configuration.text(settings)) == sys.executable
    assert replace.interpreter("") == ""
