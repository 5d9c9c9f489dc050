"""Blobs: whole and true, or not there."""

import os
from pathlib import Path

import pytest
from cribus.errors import DataLoss, InvalidArgument, NotFound
from cribus.images.content import Content, digest_of, hexadecimal


@pytest.fixture
def content(tmp_path: Path) -> Content:
    return Content(tmp_path)


@pytest.mark.parametrize("bad", ["", "sha256:", "sha256:" + "g" * 64, "sha512:" + "a" * 128, "sha256:../" + "a" * 61])
def test_no_digest(bad: str) -> None:
    with pytest.raises(InvalidArgument, match="digest"):
        hexadecimal(bad)


def test_written_and_read(content: Content, tmp_path: Path) -> None:
    name = content.write(b"data", digest_of(b"data"))
    assert (content.has(name), content.read(name), b"".join(content.chunks(name))) == (True, b"data", b"data")
    assert content.sizes == Content(tmp_path).sizes == {name: 4}
    assert content.age(name) < 60
    content.path(name).unlink()
    content.note(name)
    assert not content.has(name)
    with pytest.raises(NotFound, match="pull the image again"):
        content.read(name)


def test_a_lie_is_refused(content: Content) -> None:
    with pytest.raises(DataLoss, match="lies or is broken"):
        content.write(b"data", digest_of(b"other"))
    assert content.sizes == {}


def test_beginnings_are_kept_for_a_day(content: Content) -> None:
    name = digest_of(b"x")
    assert content.begun(name) == 0
    content.partial(name).write_bytes(b"abc")
    old = content.partial(digest_of(b"old"))
    old.write_bytes(b"abc")
    os.utime(old, (0, 0))
    (old.parent / "rest.tmp").write_bytes(b"")
    content.clean()
    assert content.begun(name) == 3
    assert os.listdir(old.parent) == [name[7:]]
