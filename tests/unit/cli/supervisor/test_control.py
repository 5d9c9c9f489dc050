import os
import signal
from pathlib import Path

import pytest
from cribus.cli.supervisor import control, daemon
from cribus.config import Settings
from cribus.errors import Internal, Unavailable

from tests.harness import until
from tests.unit.cli.supervisor.conftest import Supervised


def test_nobody_listens(tmp_path: Path) -> None:
    settings = Settings(node="unit", run=str(tmp_path))
    assert not control.answers(settings)
    with pytest.raises(Unavailable, match="cribus up"):
        control.programs(settings)


def test_programs_count_their_restarts(supervised: Supervised) -> None:
    supervised.guard()
    first = supervised.all_run()["a"]
    os.kill(first, signal.SIGKILL)
    until(lambda: supervised.all_run()["a"] != first, 5, "a is back")
    a, b = control.programs(supervised.settings)
    assert (a.name, a.restarts, b.name, b.restarts) == ("a", 1, "b", 0)
    assert a.state in ("STARTING", "RUNNING")
    assert a.since > 10**18


def test_a_refusal_is_told(supervised: Supervised) -> None:
    supervised.guard()
    with pytest.raises(Internal, match="BAD_NAME"):
        control.ask(supervised.settings, "supervisor.startProcess", "nobody")


def test_a_guard_without_supervisord_counts(tmp_path: Path) -> None:
    settings = Settings(node="unit", run=str(tmp_path))
    assert not control.supervised(settings)
    folder = tmp_path / "supervisor"
    folder.mkdir()
    held = daemon.lock(str(folder))
    assert held is not None
    assert control.supervised(settings)
    os.close(held)
    assert not control.supervised(settings)
    again = daemon.lock(str(folder))
    assert again is not None, "looking must not keep a guard away"
    os.close(again)
