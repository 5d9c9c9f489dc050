import json
import os
from pathlib import Path

import pytest
from cribus.cgroups import stats
from cribus.cgroups.stats import Memory, Stats
from cribus.errors import AlreadyExists, Unimplemented
from cribus.executor.runc_cli import show
from cribus.executor.runc_cli.options import Line
from cribus.oci.validate import validate

from tests.unit.executor.runc_cli.conftest import Make


def line(**given: object) -> Line:
    return Line({}, "x", dict(given), ["c"])


def test_all_of_a_root(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make("b", pid=os.getpid())
    make("a")
    root = str(tmp_path / "root")
    show.containers(root, line(quiet=True))
    assert capsys.readouterr().out == "a\nb\n"
    show.containers(root, line(format="json"))
    assert [one["status"] for one in json.loads(capsys.readouterr().out)] == ["creating", "running"]
    show.containers(root, line())
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert first.split()[:3] == ["a", "0", "creating"]
    assert second.split()[:3] == ["b", str(os.getpid()), "running"]


def test_state(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    show.state(make())
    assert json.loads(capsys.readouterr().out)["status"] == "creating"


def test_one_reading(make: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "read", lambda tree, path: Stats(5, Memory(7, 8), 2))
    show.events(make(), line(stats=True))
    told = json.loads(capsys.readouterr().out)
    assert (told["type"], told["id"], told["data"]["pids"]) == ("stats", "c", {"current": 2})
    with pytest.raises(Unimplemented):
        show.events(make("d"), line())


def test_a_document_to_begin_with(tmp_path: Path) -> None:
    show.spec(line(bundle=str(tmp_path)))
    validate(json.loads((tmp_path / "config.json").read_text()))
    with pytest.raises(AlreadyExists):
        show.spec(line(bundle=str(tmp_path)))
