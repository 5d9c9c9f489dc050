"""Tar in all its ways. What Python's and GNU's tar write is read whole; what is wrong is said."""

import io
import tarfile

import pytest
from cribus.errors import CribusError, DataLoss, InvalidArgument
from cribus.images.tarstream import Chunks, Entry, entries, padding

from tests.registry import Entry as Member
from tests.registry import tar


def read(data: bytes, cut: int = 700) -> list[Entry]:
    chunks = Chunks(data[at : at + cut] for at in range(0, len(data), cut))
    found = []
    for entry in entries(chunks):
        chunks.skip(entry.size + padding(entry.size))
        found.append(entry)
    return found


def one(info: tarfile.TarInfo, data: bytes = b"", format: int = tarfile.PAX_FORMAT) -> Entry:
    stream = io.BytesIO()
    info.size = len(data)
    with tarfile.open(fileobj=stream, mode="w", format=format) as out:
        out.addfile(info, io.BytesIO(data))
    [found] = read(stream.getvalue())
    return found


def header(name: str = "x", **more: object) -> bytearray:
    info = tarfile.TarInfo(name)
    for key, value in more.items():
        setattr(info, key, value)
    return bytearray(info.tobuf(tarfile.USTAR_FORMAT))


def summed(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def test_chunks_of_any_size() -> None:
    chunks = Chunks(iter([b"ab", b"", b"cdef"]))
    assert chunks.exact(3) == b"abc"
    assert bytes(chunks.take(100)) == b"def"
    assert chunks.ended()
    with pytest.raises(DataLoss, match="truncated"):
        chunks.skip(1)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_file(format: int) -> None:
    info = tarfile.TarInfo("folder/file")
    info.mode, info.uid, info.gid, info.mtime = 0o4750, 1000, 2000, 1_500_000_000
    found = one(info, b"x" * 1000, format)
    assert (found.name, found.type, found.size, found.mode) == ("folder/file", "0", 1000, 0o4750)
    assert (found.uid, found.gid, found.mtime) == (1000, 2000, 1_500_000_000 * 10**9)


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_large_numbers(format: int) -> None:
    info = tarfile.TarInfo("n" * 300)
    info.type, info.linkname, info.uid = tarfile.SYMTYPE, "t" * 300, 3_000_000_000
    found = one(info, format=format)
    assert (found.name, found.linkname, found.uid) == ("n" * 300, "t" * 300, 3_000_000_000)


def test_pax_says_more() -> None:
    info = tarfile.TarInfo("x")
    info.mtime = 1.25
    info.pax_headers = {"SCHILY.xattr.user.a": "b", "comment": "no matter"}
    found = one(info)
    assert (found.xattrs, found.mtime) == ({"user.a": b"b"}, 1_250_000_000)


def test_a_folder_of_old() -> None:
    assert read(bytes(header("old/")) + bytes(1024))[0].type == "5"


def test_an_end_without_zeros() -> None:
    assert [one.name for one in read(tar([Member("a", b"x" * 600)], end=False))] == ["a"]


def test_times_are_held_within_what_disks_hold() -> None:
    block = header()
    block[136:148] = b"\x80" + b"\xff" * 11
    assert read(summed(block) + bytes(1024))[0].mtime == (1 << 34) * 10**9


BROKEN = {
    "no tar": (b"rubbish " * 200, DataLoss),
    "cut": (tar([Member("a", b"x" * 5000)])[:3000], DataLoss),
    "number": (
        summed(header() and bytearray(bytes(header())[:124] + b"zzzzzzzzzzz\0" + bytes(header())[136:])),
        DataLoss,
    ),
    "negative size": (summed(bytearray(bytes(header())[:124] + b"\xff" * 12 + bytes(header())[136:])), DataLoss),
    "owner": (
        summed(bytearray(bytes(header())[:108] + b"\x80\xff\xff\xff\xff\xff\xff\xff" + bytes(header())[116:])),
        InvalidArgument,
    ),
    "long name without end": (bytes(header(type=b"L", size=2 << 20)), InvalidArgument),
    "pax": (bytes(header(type=b"x", size=10)) + b"99 a=b\n".ljust(512, b"\0"), DataLoss),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken(what: str) -> None:
    data, kind = BROKEN[what]
    with pytest.raises(CribusError) as caught:
        read(data)
    assert type(caught.value) is kind
