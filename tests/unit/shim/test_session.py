"""A session without a bus: what it makes of its client's words."""

import os
from collections.abc import Callable

import pytest
from cribus.bus.codec import pack
from cribus.bus.streams import Stream
from cribus.shim import memo, pump, session
from cribus.shim.inlet import Inlet
from cribus.shim.session import Session

from tests.turning import Turning
from tests.unit.shim.conftest import absent_locker


class Line:
    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.stream = Stream(self.frames.append, [1, 2], [0])
        self.closed = False
        self.absent: Callable[[], None] | None = None

    def probe(self, absent: Callable[[], None]) -> None:
        self.absent = absent
        absent()

    def again(self) -> None:
        self.stream.reconnected()

    def close(self) -> None:
        self.closed = True


class User:
    def __init__(self) -> None:
        self.said: list[object] = []

    def acked(self, channel: int) -> None:
        self.said.append(("acked", channel))

    def resize(self, width: int, height: int) -> None:
        self.said.append((width, height))

    def stdin_ended(self) -> None:
        self.said.append("stdin ended")

    def gone(self) -> None:
        self.said.append("gone")


def test_words_reach_the_user_and_input_the_process(turning: Turning) -> None:
    read, write = os.pipe()
    user, line = User(), Line()
    held = absent_locker()
    one = Session(turning.loop, user, held)
    one.open(line)
    one.take(Inlet(turning.loop, held.notes, (pump.new_stage(), write), lambda: None))
    for means in (("data", 0, b"in"), ("acked", 1), ("resize", 80, 24), ("end", 0), ("nothing",), ("gone",), ("gone",)):
        one.said(means)
    assert os.read(read, 9) == b"in"
    assert user.said == [("acked", 1), (80, 24), "stdin ended", "gone"]
    assert line.closed
    assert held.notes[memo.ENTERED] == 2
    one.free()
    one.free()
    assert held.fds == {}


def test_input_that_nobody_wants_is_counted(turning: Turning) -> None:
    held = absent_locker()
    one = Session(turning.loop, User(), held)
    one.open(line := Line())
    one.take(None)
    one.said(("data", 0, b"12345"))
    again = Session(turning.loop, User(), held)
    again.open(line := Line())
    again.take(None)
    again.again()
    assert line.frames[0] == pack(["a", 0, 5])
    one.free()


def test_a_client_that_is_not_there_any_more_is_gone(turning: Turning, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_PROBE", 0.01)
    user, line = User(), Line()
    Session(turning.loop, user, absent_locker()).open(line)
    turning.until(lambda: line.closed)
    assert user.said == ["gone"]


def test_the_last_word_lingers(turning: Turning, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_LINGER", 0.02)
    user, line = User(), Line()
    one = Session(turning.loop, user, absent_locker())
    one.open(line)
    one.exit(3)
    assert not line.closed
    one.said(("acked", 1))
    turning.until(lambda: line.closed)
    assert user.said == []
