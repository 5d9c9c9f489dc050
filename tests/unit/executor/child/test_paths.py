import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cribus.executor.child import paths


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_PATH)
    yield fd
    os.close(fd)


def made(root: int, path: str, directory: bool) -> str:
    fd = paths.ensure(root, path, directory=directory)
    try:
        return os.readlink(paths.through(fd))
    finally:
        os.close(fd)


def test_missing_parents_are_made(root: int, tmp_path: Path) -> None:
    assert made(root, "/a/b/c", True) == f"{tmp_path}/a/b/c"
    assert made(root, "a/d/file", False) == f"{tmp_path}/a/d/file"
    assert (tmp_path / "a/d/file").is_file()
    assert made(root, "/", True) == str(tmp_path)


def test_a_dangling_link_gets_its_target_inside(root: int, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    os.symlink("../run/x/resolv.conf", tmp_path / "etc/resolv.conf")
    os.symlink("/abs/y", tmp_path / "etc/abs")
    os.symlink("../../../../../outside", tmp_path / "etc/up")
    assert made(root, "/etc/resolv.conf", False) == f"{tmp_path}/run/x/resolv.conf"
    assert made(root, "/etc/abs", True) == f"{tmp_path}/abs/y"
    assert made(root, "/etc/up", False) == f"{tmp_path}/outside"
    assert not (tmp_path.parent / "outside").exists()


def test_a_loop_ends(root: int, tmp_path: Path) -> None:
    os.symlink("loop", tmp_path / "loop")
    with pytest.raises(OSError, match="symbolic links"):
        made(root, "/loop", True)
