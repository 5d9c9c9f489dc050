from pathlib import Path

import pytest
from cribus.errors import NotFound
from cribus.executor.runc_cli import run
from cribus.executor.runc_cli.box import Box
from cribus.executor.runc_cli.options import Line


def test_a_bundle_that_is_none(tmp_path: Path) -> None:
    box = Box(str(tmp_path / "root"), "c")
    with pytest.raises(NotFound, match="spec"):
        run.run(box, Line({}, "run", {"bundle": str(tmp_path), "detach": True}, ["c"]))


def test_whether_it_wants_a_terminal(tmp_path: Path) -> None:
    for text, wanted in (('{"process": {"terminal": true}}', True), ("{}", False)):
        (tmp_path / "config.json").write_text(text)
        assert run._terminal(Line({}, "run", {"bundle": str(tmp_path)}, [])) is wanted
