"""Asking again while somebody is away, but not for ever."""

import asyncio

import pytest
from cribus.errors import CribusError, DeadlineExceeded, NotFound, Unavailable
from cribus.manager import insisting


def outcome(errors: list[CribusError]) -> str:
    async def ask() -> str:
        if errors:
            raise errors.pop(0)
        return "here"

    return asyncio.run(insisting.insisted(ask))


def test_until_there_is_an_answer() -> None:
    assert outcome([Unavailable("away"), DeadlineExceeded("away")]) == "here"


def test_an_error_is_an_answer() -> None:
    with pytest.raises(NotFound):
        outcome([Unavailable("away"), NotFound("no such pod")])


def test_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(insisting, "_PATIENCE", 0.0)
    with pytest.raises(Unavailable):
        outcome([Unavailable("away")] * 100)
