from pathlib import Path

import pytest
from cribus.api.shim import Take
from cribus.shim import written


def test_what_can_be_read_is_read(tmp_path: Path) -> None:
    path = tmp_path / "take.json"
    assert written.read(str(path), Take) is None
    path.write_text('{"container":"c","pod":"p"}')
    assert written.read(str(path), Take) == Take(container="c", pod="p")


@pytest.mark.parametrize("text", ["", '{"container":', "\0\0", '{"container":5,"pod":"p"}', "[]"])
def test_rubbish_is_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "take.json"
    path.write_text(text)
    assert written.read(str(path), Take) is None
