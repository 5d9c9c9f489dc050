import json
from pathlib import Path
from typing import Any

import pytest
from cribus.errors import FailedPrecondition, InvalidArgument
from cribus.executor.runc_cli import inside
from cribus.executor.runc_cli.options import Line

from tests.unit.executor.runc_cli.conftest import Make

PROCESS = {"args": ["init"], "env": ["A=1"], "cwd": "/home", "capabilities": {"bounding": ["CAP_KILL"]}}


def asked(make: Make, given: dict[str, Any], *args: str) -> dict[str, Any]:
    return inside._process(make(process=PROCESS), Line({}, "exec", given, ["c", *args]))


def test_the_containers_process_but_for_what_is_asked(make: Make) -> None:
    given = {"env": ["B=2"], "cwd": "/tmp", "tty": True, "user": "5:6", "additional-gids": ["7"], "cap": ["CAP_CHOWN"]}
    made = asked(make, {**given, "no-new-privs": True}, "ls", "-l")
    assert (made["args"], made["env"], made["cwd"], made["terminal"]) == (["ls", "-l"], ["A=1", "B=2"], "/tmp", True)
    assert made["user"] == {"uid": 5, "gid": 6, "additionalGids": [7]}
    assert made["capabilities"]["bounding"] == ["CAP_KILL", "CAP_CHOWN"]
    assert made["noNewPrivileges"]


def test_a_document_of_its_own(make: Make, tmp_path: Path) -> None:
    (tmp_path / "process.json").write_text(json.dumps({"args": ["x"], "terminal": True}))
    assert asked(make, {"process": str(tmp_path / "process.json")}) == {"args": ["x"], "terminal": True}


def test_what_cannot_be(make: Make) -> None:
    with pytest.raises(InvalidArgument, match="name the program"):
        asked(make, {})
    with pytest.raises(FailedPrecondition, match="that is creating"):
        inside.run(make("d"), Line({}, "exec", {}, ["d", "x"]))
