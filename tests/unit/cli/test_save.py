from pathlib import Path

import pytest
from cribus.api import images
from cribus.api.verb import Empty

from tests.unit.cli.conftest import Node


def test_to_a_path_of_this_host(node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with node.serving({images.SAVE: lambda _: Empty()}):
        assert node.cribus("save", "a:1", "b:2", "-o", "x.tar") == 0
        assert node.asked == [images.Save(references=["a:1", "b:2"], path=str(tmp_path / "x.tar"))]
