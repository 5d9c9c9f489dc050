import ctypes
import errno
import os
from pathlib import Path

import pytest
from cribus.linux import files, libc


def test_replaced_by_rename(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_atomic(str(path), b"one", 0o600)
    inode = path.stat().st_ino
    files.write_atomic(str(path), b"two")
    assert (files.read(str(path)), path.stat().st_ino != inode) == (b"two", True)
    directory = os.open(tmp_path, os.O_PATH)
    files.write_atomic_at(directory, "other", b"x" * 100000)
    os.close(directory)
    assert (tmp_path / "other").stat().st_size == 100000
    assert sorted(os.listdir(tmp_path)) == ["file", "other"]


def test_links_stay_in_their_root(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("inside")
    os.symlink("/etc/passwd", tmp_path / "link")
    os.symlink("../../../../etc/passwd", tmp_path / "up")
    root = os.open(tmp_path, os.O_PATH)
    for name in ("link", "up", "/etc/passwd"):
        fd = files.openat2(root, name, os.O_RDONLY)
        assert os.read(fd, 99) == b"inside"
        os.close(fd)
    with pytest.raises(FileNotFoundError, match="none"):
        files.openat2(root, "none", os.O_RDONLY)
    os.close(root)


def test_written_durably_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        if len(synced) == 3:
            raise OSError(5, "Input/output error")
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    path = tmp_path / "file"
    files.write_durable(str(path), b"one")
    assert synced == [f"file.{os.getpid()}.tmp", tmp_path.name]
    with pytest.raises(OSError, match="Input/output"):
        files.write_durable(str(path), b"two")
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"one", ["file"])


def test_a_folder_that_is_not_there_has_no_names(tmp_path: Path) -> None:
    assert files.listed(f"{tmp_path}/none") == []
    for name in "cab":
        (tmp_path / name).touch()
    assert files.listed(str(tmp_path)) == ["a", "b", "c"]


def test_a_look_up_that_crosses_a_rename_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """openat2 answers EAGAIN when something was renamed or mounted while it went up a ".."."""
    real, crossed = libc.syscall, iter(range(3))

    def crossing(number: int, *args: libc.Argument) -> int:
        if next(crossed, None) is None:
            return real(number, *args)
        ctypes.set_errno(errno.EAGAIN)
        return -1

    monkeypatch.setattr(libc, "syscall", crossing)
    os.close(files.openat2(files.AT_FDCWD, str(tmp_path), os.O_PATH, 0))
    with pytest.raises(OSError, match="none") as missing:
        files.openat2(files.AT_FDCWD, f"{tmp_path}/none", os.O_PATH, 0)
    assert missing.value.errno == errno.ENOENT
