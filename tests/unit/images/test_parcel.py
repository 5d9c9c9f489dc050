"""Archives of checkpoints: whole or not there; and what is let in from one that nobody trusts."""

import io
import os
import stat
import tarfile
from pathlib import Path

import msgpack
import pytest
from cribus.errors import DataLoss, DeadlineExceeded, InvalidArgument, NotFound
from cribus.images import parcel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "0123456789abcdef"
    (made / "checkpoint").mkdir(parents=True)
    (made / "checkpoint" / "core-1.img").write_bytes(b"core")
    (made / "config.dump").write_text("{}")
    (tmp_path / "out").mkdir()
    return made


def archive(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> str:
    with tarfile.open(path, "w") as tar:
        for info, data in entries:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, data


def test_a_folder_as_an_archive_and_back(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("line\n")
    size, count = parcel.pack(str(folder), str(tmp_path / "out/a.tar"), str(log))
    made = tmp_path / "out/a.tar"
    assert (made.stat().st_size, count) == (size, 4)
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert os.listdir(tmp_path / "out") == ["a.tar"]
    (tmp_path / "back").mkdir()
    parcel.unpacked(str(made), str(tmp_path / "back"), 1 << 20)
    assert (tmp_path / "back/checkpoint/core-1.img").read_bytes() == b"core"
    assert (tmp_path / "back/container.log").read_text() == "line\n"


def pod_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "fedcba9876543210"
    for name in ("container-0", "container-1"):
        (folder / name / "checkpoint").mkdir(parents=True)
        (folder / name / "config.dump").write_text(name)
    (folder / "pod.options").write_text("{}")
    return folder


def test_the_containers_of_a_pod(folder: Path, tmp_path: Path) -> None:
    pod = pod_folder(tmp_path)
    assert parcel.pack_pod(str(pod), str(tmp_path / "out"), {"container-0": "", "container-1": ""})[1] == 2
    assert sorted(os.listdir(tmp_path / "out")) == ["container-0.tar", "container-1.tar", "pod.options"]
    with tarfile.open(tmp_path / "out/container-1.tar") as tar:
        file = tar.extractfile("config.dump")
        assert file is not None
        assert file.read() == b"container-1"
    (tmp_path / "out/.container-0.tar.fedcba987654").touch()  # as one that was killed may leave it
    (tmp_path / "out/mine").touch()
    assert parcel.unpack_pod(str(pod), str(tmp_path / "out"))[1] == 4
    assert os.listdir(tmp_path / "out") == ["mine"]


def test_what_was_there_is_replaced(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out/a.tar").write_text("old")
    parcel.pack(str(folder), str(tmp_path / "out/a.tar"))
    assert tarfile.is_tarfile(tmp_path / "out/a.tar")


def test_without_files_that_have_no_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on NFS."""
    real = os.open

    def unsupported(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(95, "Operation not supported")
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", unsupported)
    parcel.pack(str(folder), str(tmp_path / "out/a.tar"))
    assert os.listdir(tmp_path / "out") == ["a.tar"]


def test_a_failure_leaves_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, target: str, **_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(OSError, match="No space"):
        parcel.pack(str(folder), str(tmp_path / "out/a.tar"))
    assert os.listdir(tmp_path / "out") == []


def test_too_late_is_not_at_all(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out/a.tar").write_text("old")
    with pytest.raises(DeadlineExceeded):
        parcel.pack(str(folder), str(tmp_path / "out/a.tar"), until=1)
    assert [one.read_text() for one in (tmp_path / "out").iterdir()] == ["old"]
    parcel.pack(str(folder), str(tmp_path / "out/a.tar"), until=1 << 62)
    assert tarfile.is_tarfile(tmp_path / "out/a.tar")


def test_a_log_that_is_none(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in ("", str(tmp_path / "nothing"), str(tmp_path / "fifo"), "/dev/zero"):
        assert parcel.pack(str(folder), str(tmp_path / "out/a.tar"), path)[1] == 3


@pytest.mark.parametrize(
    "hostile",
    [
        entry("../out/escaped", data=b"x"),
        entry("checkpoint/../../out/escaped", data=b"x"),
        entry("link", tarfile.SYMTYPE, "/etc/passwd"),
        entry("checkpoint", tarfile.SYMTYPE, "../out"),
        entry("hard", tarfile.LNKTYPE, "config.dump"),
        entry("sda", tarfile.BLKTYPE),
        entry("null", tarfile.CHRTYPE),
        entry("fifo", tarfile.FIFOTYPE),
    ],
    ids=lambda one: one[0].name,
)
def test_what_an_archive_may_not_have(hostile: tuple[tarfile.TarInfo, bytes], folder: Path, tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", entry("config.dump", data=b"{}"), hostile, entry("checkpoint/x", data=b"y"))
    (tmp_path / "back").mkdir()
    with pytest.raises(InvalidArgument):
        parcel.unpacked(path, str(tmp_path / "back"), 1 << 20)
    assert os.listdir(tmp_path / "out") == []


def test_an_absolute_name_stays_inside(folder: Path, tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", entry(f"{tmp_path}/out/escaped", data=b"x"))
    (tmp_path / "back").mkdir()
    parcel.unpacked(path, str(tmp_path / "back"), 1 << 20)
    assert os.listdir(tmp_path / "out") == []


def test_more_than_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "back").mkdir()
    bomb = archive(tmp_path / "a.tar", entry("checkpoint/pages", data=bytes(100_000)))
    with pytest.raises(InvalidArgument, match="more than 50000 bytes"):
        parcel.unpacked(bomb, str(tmp_path / "back"), 50_000)


@pytest.mark.parametrize("content", [b"no archive at all", b"x" * 600])
def test_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    (tmp_path / "back").mkdir()
    with pytest.raises(DataLoss):
        parcel.unpacked(str(tmp_path / "a.tar"), str(tmp_path / "back"), 1 << 20)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is not there"):
        parcel.unpacked(f"{tmp_path}/none", str(tmp_path), 1)


def test_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(InvalidArgument, match="is no file"):
            parcel.unpacked(str(path), str(tmp_path), 1)


def test_a_worker_tells(folder: Path, tmp_path: Path) -> None:
    read, write = os.pipe()
    parcel.main({"do": "pack", "folder": str(folder), "location": str(tmp_path / "nowhere/a.tar")}, [write])
    os.close(write)
    with os.fdopen(read, "rb") as file:
        told = msgpack.unpackb(file.read())
    assert told["code"] == "INTERNAL" or told["code"] == "NOT_FOUND"
    assert "No such file" in told["message"]
