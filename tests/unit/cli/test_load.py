from pathlib import Path

import pytest
from cribus.api import images

from tests.unit.cli.conftest import Node


def test_a_path_of_this_host(
    node: Node, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "x.tar").touch()
    monkeypatch.chdir(tmp_path)
    with node.serving({images.LOAD: lambda _: images.Loaded(references=["localhost/x:1"])}):
        assert node.cribus("load", "x.tar", "--name", "x:1") == 0
        assert node.asked == [images.Load(path=str(tmp_path / "x.tar"), reference="x:1")]
        assert capsys.readouterr().out == "localhost/x:1\n"


def test_a_missing_file_is_told_before_anything_is_asked(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert node.cribus("load", "/nonexistent.tar") == 1
    assert capsys.readouterr().err == "cribus: /nonexistent.tar: No such file or directory\n"
