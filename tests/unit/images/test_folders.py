"""Directories of a layer: made when missing, through links, never outside."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cribus.errors import InvalidArgument
from cribus.images import whiteouts
from cribus.images.folders import Folders, is_directory, parts


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Folders]:
    made = Folders(str(tmp_path))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("name", "split"),
    [("a", ("", "a")), ("/a//b/./c/", ("a/b", "c")), (".", ("", "")), ("/", ("", "")), ("./a", ("", "a"))],
)
def test_parts(name: str, split: tuple[str, str]) -> None:
    assert parts(name) == split


@pytest.mark.parametrize("name", ["..", "../a", "a/../b", "/.."])
def test_no_part_climbs(name: str) -> None:
    with pytest.raises(InvalidArgument, match=r"'\.\.'"):
        parts(name)


def test_depth_has_an_end() -> None:
    with pytest.raises(InvalidArgument, match="deep"):
        parts("a/" * 2000)


def test_missing_ones_are_made_and_noted(folders: Folders, tmp_path: Path) -> None:
    fd = folders.enter("a/b")
    assert os.fstat(fd).st_ino == (tmp_path / "a/b").stat().st_ino
    assert folders.enter("a/b") == fd
    assert list(folders.implied) == ["a", "a/b"]
    assert folders.enter("") == folders.root


def test_a_link_is_followed_inside(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/../../etc")
    folders.enter("out")
    assert (tmp_path / "etc").is_dir()
    (tmp_path / "real").mkdir()
    (tmp_path / "near").symlink_to("real")
    assert os.fstat(folders.enter("near/deep")).st_ino == (tmp_path / "real/deep").stat().st_ino


@pytest.mark.parametrize("target", ["ring", "other/x"])
def test_links_without_an_end(folders: Folders, tmp_path: Path, target: str) -> None:
    (tmp_path / "ring").symlink_to(target)
    (tmp_path / "other").symlink_to("ring")
    with pytest.raises(InvalidArgument, match=r"ring|end"):
        folders.enter("ring/a")


def test_a_file_is_in_the_way(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidArgument, match="no directory"):
        folders.enter("file/a")


def test_below_a_whiteout_everything_is_new(folders: Folders, tmp_path: Path) -> None:
    whiteouts.apply(folders.root, ".wh.gone")
    folders.enter("gone")
    assert whiteouts.is_opaque(str(tmp_path / "gone"))


def test_more_than_are_kept(folders: Folders) -> None:
    for number in range(600):
        folders.enter(f"d{number}")
    assert is_directory(folders.root, "d599")
