import os
import random
from pathlib import Path

import pytest
from cribus.shim import crilog

HEAD = b"2026-01-01T00:00:00.000000001Z stdout "


def test_stamps_are_utc_with_nine_digits() -> None:
    assert crilog.stamp(1_767_225_600_000_000_001) == b"2026-01-01T00:00:00.000000001Z"
    assert crilog.stamp(1_767_225_601_500_000_000) == b"2026-01-01T00:00:01.500000000Z"


def test_whole_lines_are_full() -> None:
    assert crilog.render(b"", b"a\n\nb\n", HEAD) == (HEAD + b"F a\n" + HEAD + b"F \n" + HEAD + b"F b\n", b"")


def test_an_unfinished_line_waits() -> None:
    out, tail = crilog.render(b"", b"a\nb", HEAD)
    assert (out, tail) == (HEAD + b"F a\n", b"b")
    assert crilog.render(tail, b"c\n", HEAD) == (HEAD + b"F bc\n", b"")
    assert crilog.render(tail, b"", HEAD, end=True) == (HEAD + b"P b\n", b"")


@pytest.mark.parametrize("extra", [0, 1])
def test_a_line_of_the_limit_is_full_and_one_more_byte_is_a_part(extra: int) -> None:
    line = b"x" * (crilog.LIMIT + extra)
    out, _ = crilog.render(b"", line + b"\n", HEAD)
    assert [row[len(HEAD) :][:1] for row in out.splitlines()] == [b"F"] if not extra else [b"P", b"F"]


def test_where_it_was_cut_makes_no_difference() -> None:
    dice = random.Random(7)
    data = b"".join(b"z" * dice.choice((0, 5, 100, 16384, 16385, 50000)) + b"\n" for _ in range(50)) + b"rest"
    whole, _ = crilog.render(b"", data, HEAD, end=True)
    out, tail, at = b"", b"", 0
    while at < len(data):
        count = dice.choice((1, 10, 1000, 65536))
        piece, tail = crilog.render(tail, data[at : at + count], HEAD)
        out, at = out + piece, at + count
        assert len(tail) <= crilog.LIMIT
    out += crilog.render(tail, b"", HEAD, end=True)[0]
    assert out == whole
    assert crilog.parse(whole, b"stdout") == (data, len(whole))


def test_parse_leaves_other_streams_and_the_unfinished() -> None:
    log = HEAD + b"F a\n" + HEAD.replace(b"stdout", b"stderr") + b"F b\n" + HEAD + b"P c\n"
    assert crilog.parse(log + HEAD, b"stdout") == (b"a\nc", len(log))
    assert crilog.parse(log, b"stderr")[0] == b"b\n"
    assert crilog.parse(b"", b"stdout") == (b"", 0)


def test_the_file_goes_on_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.log"
    first = crilog.open_log(str(path))
    assert first.write(b"one\n", first.size())
    again = crilog.open_log(str(path))
    assert again.start == 4
    assert again.write(b"two\n", again.size())
    assert again.read(0, 99) == b"one\ntwo\n"


def test_a_full_disk_leaves_nothing_of_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = crilog.open_log(str(tmp_path / "a.log"))
    log.write(b"one\n", 0)
    real = os.pwrite

    def full(fd: int, data: bytes, at: int) -> int:
        if at >= 7:
            raise OSError(28, "no space")
        return real(fd, data[:3], at)

    monkeypatch.setattr(os, "pwrite", full)
    assert log.write(b"twothree\n", 4) is False
    assert log.read(0, 99) == b"one\n"
