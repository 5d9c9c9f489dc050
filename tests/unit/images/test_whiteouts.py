"""Whiteouts in overlayfs's words."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cribus.errors import InvalidArgument
from cribus.images import whiteouts


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def test_other_names_are_left_alone(folder: int) -> None:
    assert not whiteouts.apply(folder, "wh.x")


def test_a_whiteout_is_a_device(folder: int, tmp_path: Path) -> None:
    assert whiteouts.apply(folder, ".wh.gone")
    assert whiteouts.is_whiteout(os.lstat(tmp_path / "gone"))


def test_an_opaque_folder(folder: int, tmp_path: Path) -> None:
    assert not whiteouts.is_opaque(str(tmp_path))
    assert whiteouts.apply(folder, whiteouts.OPAQUE)
    assert whiteouts.is_opaque(str(tmp_path))


def test_what_its_own_layer_has_stays_and_hides(folder: int, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "file").write_text("x")
    assert whiteouts.apply(folder, ".wh.kept")
    assert whiteouts.apply(folder, ".wh.file")
    assert whiteouts.is_opaque(str(tmp_path / "kept"))
    assert stat.S_ISREG(os.lstat(tmp_path / "file").st_mode)


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh..."])
def test_nothing_to_take_away(folder: int, name: str) -> None:
    with pytest.raises(InvalidArgument, match="names nothing"):
        whiteouts.apply(folder, name)


def test_what_aufs_left_means_nothing(folder: int, tmp_path: Path) -> None:
    assert whiteouts.apply(folder, ".wh..wh.plnk")
    assert not list(tmp_path.iterdir())


def test_a_tree_is_removed_without_following(folder: int, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "link").symlink_to(outside)
    whiteouts.remove_tree(folder, "tree")
    assert (outside / "file").exists()
    assert not (tmp_path / "tree").exists()
