"""Layers and writable layers: there or not, over restarts."""

import os
from pathlib import Path

import pytest
from cribus.errors import NotFound
from cribus.images.snapshots import Snapshots, Usage, tree_usage
from cribus.images.trash import Trash

ONE, TWO = ("sha256:" + digit * 64 for digit in "12")


def opened(root: Path) -> Snapshots:
    made = Snapshots(root, Trash(root / "trash"))
    made.open()
    return made


def layer(snapshots: Snapshots, diff_id: str, **files: str) -> None:
    folder = snapshots.new()
    for name, text in files.items():
        (folder / "fs" / name).write_text(text)
    snapshots.commit(folder, diff_id, Usage(4096, len(files)))


def test_a_layer_stays_over_a_restart(tmp_path: Path) -> None:
    first = opened(tmp_path)
    layer(first, ONE, file="x")
    for snapshots in (first, opened(tmp_path)):
        assert snapshots.has(ONE)
        assert snapshots.layers == {ONE: Usage(4096, 1)}
        assert (Path(snapshots.path(ONE)) / "file").read_text() == "x"
        assert len(os.path.basename(snapshots.path(ONE))) == 1
        assert snapshots.below(ONE) == b""
        assert snapshots.age(ONE) < 60


def test_a_twin_that_was_faster_wins(tmp_path: Path) -> None:
    snapshots = opened(tmp_path)
    layer(snapshots, ONE, file="first")
    layer(snapshots, ONE, file="second")
    assert (Path(snapshots.path(ONE)) / "file").read_text() == "first"
    assert os.listdir(tmp_path / "making") == ["none"]


def test_names_are_used_again(tmp_path: Path) -> None:
    snapshots = opened(tmp_path)
    layer(snapshots, ONE)
    layer(snapshots, TWO)
    short = snapshots.path(ONE)
    snapshots.drop(ONE)
    snapshots.drop(ONE)
    assert not snapshots.has(ONE)
    layer(snapshots, "sha256:" + "3" * 64)
    assert snapshots.path("sha256:" + "3" * 64) == short


def test_leftovers_go_at_the_start(tmp_path: Path) -> None:
    snapshots = opened(tmp_path)
    snapshots.new()
    (tmp_path / "layers" / ("4" * 64)).mkdir()
    (tmp_path / "containers" / "half").mkdir()
    os.symlink("../layers/none/fs", tmp_path / "l" / "z")
    opened(tmp_path)
    assert os.listdir(tmp_path / "making") == ["none"]
    assert [os.listdir(tmp_path / name) for name in ("layers", "containers", "l")] == [[], [], []]
    assert os.listdir(opened(tmp_path).nothing()) == []


def test_a_writable_layer(tmp_path: Path) -> None:
    snapshots = opened(tmp_path)
    root = tmp_path / "root"
    root.mkdir(mode=0o711)
    os.chown(root, 7, 8)
    for _ in range(2):
        upper, work = snapshots.prepare("c1", {"diff_ids": [ONE]}, os.stat(root))
    found = os.stat(upper)
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777, os.path.isdir(work)) == (7, 8, 0o711, True)
    (Path(upper) / "file").write_text("x" * 5000)
    assert snapshots.usage("c1") == (8192, 1)
    assert opened(tmp_path).containers == {"c1": {"diff_ids": [ONE]}}
    assert snapshots.discard("c1") == {"diff_ids": [ONE]}
    assert snapshots.discard("c1") == {}
    with pytest.raises(NotFound):
        snapshots.usage("c1")


def test_a_hard_link_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    os.link(tmp_path / "a", tmp_path / "b")
    assert tree_usage(str(tmp_path)) == (4096, 1)
