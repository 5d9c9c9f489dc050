import io
import json
import os
import sys
from pathlib import Path

import pytest
from cribus.errors import FailedPrecondition, InvalidArgument, NotFound
from cribus.executor.runc_cli import control
from cribus.executor.runc_cli.box import Box
from cribus.executor.runc_cli.options import Line

from tests.unit.executor.runc_cli.conftest import Make, NoCgroups


def line(**given: str) -> Line:
    return Line({}, "x", {name.replace("_", "-"): value for name, value in given.items()}, ["c"])


@pytest.mark.parametrize("word", ["15", "TERM", "sigterm"])
def test_signals_by_every_name(make: Make, sleeper: int, word: str) -> None:
    control.kill(make(pid=sleeper), [word], everyone=False)
    assert os.waitstatus_to_exitcode(os.waitpid(sleeper, 0)[1]) == -15


def test_signals_to_nobody(make: Make) -> None:
    with pytest.raises(FailedPrecondition, match="container not running"):
        control.kill(make(), ["9"], everyone=False)
    with pytest.raises(InvalidArgument, match="NOPE"):
        control.kill(make("d"), ["NOPE"], everyone=False)


def test_everybody(make: Make, tree: NoCgroups) -> None:
    control.kill(make(), ["KILL"], everyone=True)
    assert tree.told == [("kill", "/x/c")]


def test_delete(make: Make, sleeper: int, tmp_path: Path) -> None:
    box = make(pid=sleeper)
    with pytest.raises(FailedPrecondition, match="not stopped"):
        control.delete(box, force=False)
    pid = os.fork()
    if pid == 0:  # whoever waits for it reaps it
        os._exit(0)
    os.waitpid(pid, 0)
    control.delete(box, force=True)
    assert not Path(box.path).exists()
    assert control.delete(box, force=True) == 0
    with pytest.raises(NotFound):
        control.delete(box, force=False)


def test_pause_and_resume(make: Make, tree: NoCgroups) -> None:
    box = make(pid=os.getpid())
    with pytest.raises(FailedPrecondition, match="not paused"):
        control.resume(box)
    control.pause(box)
    assert box.status() == "paused"
    with pytest.raises(FailedPrecondition):
        control.pause(box)
    control.resume(box)
    assert not tree.cold


def test_limits(
    make: Make, tree: NoCgroups, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    box = make(pid=os.getpid())
    control.update(box, line(memory="100", cpu_quota="5", cpuset_cpus="0", pids_limit="7", blkio_weight="9"))
    one = {"memory": {"limit": 100}, "cpu": {"quota": 5, "cpus": "0"}, "pids": {"limit": 7}, "blockIO": {"weight": 9}}
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"pids": {"limit": 1}}'))
    control.update(box, line(resources="-"))
    (tmp_path / "file").write_text('{"pids": {"limit": 2}}')
    control.update(box, line(resources=str(tmp_path / "file")))
    assert tree.told == [("change", one), ("change", {"pids": {"limit": 1}}), ("change", {"pids": {"limit": 2}})]
    assert capfd.readouterr().err == "warning: pids are ignored\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"pids": {"limits": 1}}'))
    control.update(box, line(resources="-"))
    assert "linux.resources.pids.limits is no property" in capfd.readouterr().err


def test_ps(make: Make, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    box: Box = make()
    control.ps(box, line(format="json"))
    assert json.loads(capfd.readouterr().out) == []
    monkeypatch.setattr(NoCgroups, "pids", lambda self, path: [os.getpid()])
    control.ps(box, line())
    assert str(os.getpid()) in capfd.readouterr().out
