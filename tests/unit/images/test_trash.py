"""What is thrown away is out of the way at once, and gone a little later."""

import os
import subprocess
import threading
from pathlib import Path

import pytest
from cribus.images.trash import _FEW, Trash


def emptied(trash: Trash) -> None:
    done = threading.Event()
    trash.empty(done)
    assert done.wait(20)


def test_a_tree_goes(tmp_path: Path) -> None:
    trash = Trash(tmp_path / "trash")
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "file").write_text("x")
    assert trash.take(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    emptied(trash)
    assert os.listdir(tmp_path / "trash") == []


def _tree(path: Path, count: int) -> None:
    (path / "deep").mkdir(parents=True)
    for k in range(count):
        (path / "deep" / f"{k}").write_text("x")


def test_few_entries_want_no_process_and_links_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", None)
    trash = Trash(tmp_path / "trash")
    _tree(tmp_path / "kept", 1)
    _tree(tmp_path / "tree", 3)
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "tree" / "deep" / "nowhere").symlink_to("none")
    (tmp_path / "file").write_text("x")
    assert trash.take(tmp_path / "tree")
    assert trash.take(tmp_path / "file")
    emptied(trash)
    assert os.listdir(tmp_path / "trash") == []
    assert (tmp_path / "kept" / "deep" / "0").exists()


def test_nothing_to_take(tmp_path: Path) -> None:
    assert not Trash(tmp_path / "trash").take(tmp_path / "none")


def test_what_an_earlier_process_left(tmp_path: Path) -> None:
    (tmp_path / "trash" / "left").mkdir(parents=True)
    emptied(Trash(tmp_path / "trash"))
    assert os.listdir(tmp_path / "trash") == []


def test_what_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trash = Trash(tmp_path / "trash")
    _tree(tmp_path / "one", _FEW + 1)
    _tree(tmp_path / "two", 1)
    with monkeypatch.context() as short:

        def none(*_: object, **__: object) -> None:
            raise OSError(24, "Too many open files")

        short.setattr(subprocess, "run", none)
        trash.take(tmp_path / "one")
        emptied(trash)
    trash.take(tmp_path / "two")
    emptied(trash)
    assert os.listdir(tmp_path / "trash") == []
