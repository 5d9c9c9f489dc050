"""What is refused before anything is made; the rest is in tests/node/test_runc_cli.py."""

from pathlib import Path
from typing import Any

import pytest
from cribus.errors import InvalidArgument
from cribus.executor.runc_cli import create
from cribus.executor.runc_cli.box import Box
from cribus.executor.runc_cli.options import Line

from tests.unit.executor.runc_cli.conftest import Make, NoCgroups

PROCESS = {"args": ["x"], "cwd": "/", "user": {"uid": 0, "gid": 0}}


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"process": {"args": []}}, "process"),
        ({"process": {**PROCESS, "terminal": True}, "linux": {"namespaces": [{"type": "mount"}]}}, "console-socket"),
    ],
)
def test_nothing_is_left(make: Make, tree: NoCgroups, tmp_path: Path, spec: dict[str, Any], text: str) -> None:
    make("other", **spec)
    box = Box(str(tmp_path / "root"), "c")
    with pytest.raises(InvalidArgument, match=text):
        create.create(box, Line({}, "create", {"bundle": str(tmp_path / "bundle")}, ["c"]))
    assert not Path(box.path).exists()
