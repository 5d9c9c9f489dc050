"""Programs that read little, say much, or leave others behind."""

import subprocess
import time

import pytest
from cribus.network import talk

PIPE = subprocess.PIPE


def talked(script: str, told: bytes = b"", seconds: float = 20.0) -> tuple[bytes, bytes]:
    with subprocess.Popen(["sh", "-c", script], stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True) as one:
        try:
            return talk.talk(one, told, seconds)
        finally:
            one.kill()


def test_both_ways_and_more_than_a_pipe_holds() -> None:
    told = b"x" * 300_000
    assert talked("cat; echo bad >&2", told) == (told, b"bad\n")


def test_one_that_does_not_read() -> None:
    assert talked("exec <&-; echo done", b"x" * 300_000) == (b"done\n", b"")


def test_what_it_leaves_running_is_not_waited_for() -> None:
    began = time.monotonic()
    assert talked("setsid sleep 5 & echo done") == (b"done\n", b"")
    assert time.monotonic() - began < 4


def test_one_that_never_stops_talking() -> None:
    with pytest.raises(talk.TooMuchError):
        talked("exec yes")


def test_one_that_does_not_end() -> None:
    with pytest.raises(TimeoutError):
        talked("exec sleep 100", seconds=0.2)
    with pytest.raises(TimeoutError):
        talked("exec >&- 2>&- <&-; exec sleep 100", seconds=0.2)
