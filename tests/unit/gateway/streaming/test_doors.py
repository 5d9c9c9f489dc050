"""Doors open once, for a minute, and only so many."""

import pytest
from cribus.errors import ResourceExhausted
from cribus.gateway.streaming.client import Client
from cribus.gateway.streaming.doors import LIFE, Command, Doors


async def _run(client: Client) -> None:
    raise AssertionError("not entered")


DOOR = Command("exec", set(), _run)


def test_once() -> None:
    doors = Doors()
    path = doors.open(DOOR)
    assert path.startswith("/exec/")
    assert len(path) > 40
    assert doors.enter(path.replace("exec", "attach")) is None
    assert doors.enter(path) is DOOR
    assert doors.enter(path) is None
    assert doors.enter("/exec/guess") is None


def test_for_a_minute() -> None:
    now = [0.0]
    doors = Doors(lambda: now[0])
    early, late = doors.open(DOOR), doors.open(DOOR)
    now[0] = LIFE - 1
    assert doors.enter(early) is DOOR
    now[0] = LIFE
    assert doors.enter(late) is None


def test_so_many() -> None:
    now = [0.0]
    doors = Doors(lambda: now[0])
    for _ in range(1000):
        doors.open(DOOR)
    with pytest.raises(ResourceExhausted, match="try again"):
        doors.open(DOOR)
    now[0] = LIFE
    doors.open(DOOR)
