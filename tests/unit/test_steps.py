"""Steps of operations, and faults after them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cribus import steps

PASS = """
import sys
from cribus import steps
step = steps.Step("test.pass.first")
with step.of("someone"):
    pass
print("alive")
"""


@pytest.fixture
def step() -> steps.Step:
    steps.known.pop("test.unit.piece", None)
    return steps.Step("test.unit.piece")


def test_a_name_has_one_step(step: steps.Step) -> None:
    with pytest.raises(ValueError, match=r"two steps test\.unit\.piece"):
        steps.Step("test.unit.piece")


def test_it_is_going_and_then_heard(step: steps.Step, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[steps.Passage] = []
    monkeypatch.setattr(steps, "heard", heard.append)
    with step.of("pod"):
        assert [one.id for one in steps.going] == ["pod"]
    assert not steps.going
    [one] = heard
    assert (one.name, one.id, one.failure) == ("test.unit.piece", "pod", "")
    assert one.took > 0


def test_a_failure_is_heard_with_its_cause(step: steps.Step, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[steps.Passage] = []
    monkeypatch.setattr(steps, "heard", heard.append)
    with pytest.raises(OSError, match="no room"), step.of():
        raise OSError("no room")
    assert heard[0].failure == "OSError: no room"


def _passed(faults: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "CRIBUS_FAULTS": str(faults)}
    return subprocess.run([sys.executable, "-c", PASS], env=env, capture_output=True, text=True, timeout=20)


def test_a_fault_happens_once(tmp_path: Path) -> None:
    (tmp_path / "test.pass.first").write_text(f"{int(signal.SIGKILL)} 0\n")
    assert _passed(tmp_path).returncode == -signal.SIGKILL
    assert _passed(tmp_path).stdout == "alive\n"


def test_a_fault_hits_another(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        (tmp_path / "test.pass.first").write_text(f"{int(signal.SIGKILL)} {other.pid}\n")
        assert _passed(tmp_path).stdout == "alive\n"
        assert other.wait(10) == -signal.SIGKILL


def test_a_fifo_halts_whoever_did_the_step(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "test.pass.first")
    env = {**os.environ, "CRIBUS_FAULTS": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", PASS], env=env, stdout=subprocess.PIPE) as halted:
        with open(tmp_path / "test.pass.first", "w") as file:  # opens when the other side does
            assert list(tmp_path.glob("*.done"))
            file.write(f"{int(signal.SIGKILL)} 0\n")
        assert halted.wait(10) == -signal.SIGKILL


def test_what_was_passed_is_written_down_where_a_test_wants_it(tmp_path: Path) -> None:
    _passed(tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "passed").mkdir()
    _passed(tmp_path)
    assert [one.name for one in (tmp_path / "passed").iterdir()] == ["test.pass.first"]


def test_innermost_steps_are_faults_only(step: steps.Step, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[steps.Passage] = []
    monkeypatch.setattr(steps, "heard", heard.append)
    step.passed()
    assert heard == []
