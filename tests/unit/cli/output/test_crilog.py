"""Logs are printed as the container wrote them, also while they grow and after rotation."""

import asyncio
from pathlib import Path

import pytest
from cribus.cli.output import crilog

T = b"2026-11-24T00:00:00.000000000Z"


def _line(text: bytes, stream: bytes = b"stdout", tag: bytes = b"F") -> bytes:
    return b" ".join((T, stream, tag, text)) + b"\n"


def _text(log: crilog.Log) -> bytes:
    return b"".join(entry.text for entry in log.read())


def test_entries() -> None:
    data = _line(b"a b  c") + _line(b"", b"stderr") + _line(b"part", tag=b"P") + b"2026"
    found, rest = crilog.entries(data)
    assert [(one.stream, one.text) for one in found] == [
        (b"stdout", b"a b  c\n"),
        (b"stderr", b"\n"),
        (b"stdout", b"part"),
    ]
    assert rest == b"2026"


def test_a_line_that_is_not_ours_is_shown() -> None:
    assert crilog.entries(b"what\n")[0][0].text == b"what\n"


def test_a_log_that_does_not_exist_yet_and_is_rotated(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    with crilog.Log(str(path)) as log:
        assert _text(log) == b""
        path.write_bytes(_line(b"one") + b"half")
        assert _text(log) == b"one\n"
        with path.open("ab") as file:
            file.write(b"\n" + _line(b"two"))
        assert _text(log) == b"half\ntwo\n"
        path.rename(tmp_path / "0.log.1")
        path.write_bytes(_line(b"three"))
        assert _text(log) == b"three\n"


def test_waits_for_a_change(tmp_path: Path) -> None:
    path = tmp_path / "0.log"

    async def scenario(log: crilog.Log) -> None:
        async with asyncio.timeout(5):
            waiting = asyncio.create_task(log.changed())
            await asyncio.to_thread(path.write_bytes, _line(b"news"))
            await waiting

    with crilog.Log(str(path)) as log:
        asyncio.run(scenario(log))
        assert _text(log) == b"news\n"


def test_each_stream_goes_where_it_came_from(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    crilog.write(crilog.entries(_line(b"out") + _line(b"err", b"stderr"))[0])
    assert capfdbinary.readouterr() == (b"out\n", b"err\n")
    crilog.write(crilog.entries(_line(b"out"))[0], times=True)
    assert capfdbinary.readouterr().out == T + b" out\n"
