"""A tar becomes a directory. More of it, seen from inside a container, is in tests/node/test_pull.py."""

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from cribus.errors import DataLoss, InvalidArgument
from cribus.images import whiteouts

from tests.registry import Entry, tar
from tests.unit.images.world import unpacked


def test_files_folders_and_links(tmp_path: Path) -> None:
    total = unpacked(
        tar(
            [
                Entry("d", folder=True, mode=0o700),
                Entry("d/f", b"data", 0o640),
                Entry("d/h", link="d/f"),
                Entry("d/s", symlink="f"),
            ]
        ),
        tmp_path / "fs",
    )
    found = tmp_path / "fs" / "d"
    assert (found / "f").read_bytes() == b"data"
    assert (found / "f").stat().st_ino == (found / "h").stat().st_ino
    assert os.readlink(found / "s") == "f"
    assert stat.S_IMODE((found / "f").stat().st_mode) == 0o640
    assert (total.inodes, total.size, total.folders, total.links) == (
        3,  # a hard link is no inode
        8192,
        [""],
        [],
    )  # its root is described by no entry


def test_the_last_of_a_name_counts(tmp_path: Path) -> None:
    entries = [Entry("a/deep", b"1"), Entry("a", b"file"), Entry("b", b"1"), Entry("b", b"2"), Entry("c", symlink="b")]
    entries += [Entry("c", folder=True, mode=0o755), Entry("c/x", b"in c"), Entry("h", b"3"), Entry("h", link="b")]
    unpacked(tar(entries), tmp_path / "fs")
    assert (tmp_path / "fs/a").read_bytes() == b"file"
    assert (tmp_path / "fs/b").read_bytes() == b"2"
    assert (tmp_path / "fs/c/x").read_bytes() == b"in c"
    assert (tmp_path / "fs/h").read_bytes() == b"2"


def test_a_descriptor_of_what_was_replaced_is_forgotten(tmp_path: Path) -> None:
    entries = [Entry("real", folder=True, mode=0o755), Entry("a", symlink="real"), Entry("a/1", b"1")]
    entries += [Entry("a", folder=True, mode=0o755), Entry("a/2", b"2"), Entry("real/3", b"3")]
    unpacked(tar(entries), tmp_path / "fs")
    assert sorted(os.listdir(tmp_path / "fs/a")) == ["2"]
    assert sorted(os.listdir(tmp_path / "fs/real")) == ["1", "3"]


def test_taken_away_and_made_anew(tmp_path: Path) -> None:
    unpacked(
        tar([Entry(".wh.a"), Entry("a", folder=True, mode=0o755), Entry(".wh.b"), Entry("b", b"x")]), tmp_path / "fs"
    )
    assert whiteouts.is_opaque(str(tmp_path / "fs/a"))
    assert (tmp_path / "fs/b").read_bytes() == b"x"


def test_what_is_left_to_lower_layers(tmp_path: Path) -> None:
    total = unpacked(tar([Entry("a/b/c", b"x"), Entry("l", link="x/y"), Entry("a", folder=True)]), tmp_path / "fs")
    assert (total.folders, total.links) == (["a/b", ""], [("l", "x/y")])


def test_times_of_folders_survive_their_content(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as out:
        for name, kind in (("d", tarfile.DIRTYPE), ("d/f", tarfile.FIFOTYPE), (".", tarfile.DIRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.mtime, info.mode = kind, 1_000_000_000, 0o755
            out.addfile(info)
    unpacked(stream.getvalue(), tmp_path / "fs")
    assert [(tmp_path / "fs" / name).stat().st_mtime for name in ("d", "d/f", ".")] == [1_000_000_000] * 3


def test_a_folder_that_became_a_fifo_hangs_nobody(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as out:
        for kind in (tarfile.DIRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("d")
            info.type = kind
            out.addfile(info)
    unpacked(stream.getvalue(), tmp_path / "fs")
    assert stat.S_ISFIFO((tmp_path / "fs/d").stat().st_mode)


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"'\.\.'"):
        unpacked(tar([Entry("../x", b"x")]), tmp_path / "1")
    with pytest.raises(DataLoss, match="truncated"):
        unpacked(tar([Entry("x", b"x" * 9000)])[:4000], tmp_path / "2")
    with pytest.raises(DataLoss, match="cannot be made"):
        unpacked(tar([Entry("n" * 256, b"x")]), tmp_path / "3")
    assert not (tmp_path / "x").exists()
