"""Asking over the slim client, against the services' own server; events into a real stream."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cribus.api.events import EXITED, Event
from cribus.api.verb import Message, Verb
from cribus.bus import service, slim_call
from cribus.bus.slim_call import Request
from cribus.errors import CribusError, DeadlineExceeded, NotFound, Unavailable

from tests.unit.bus.slim_rig import SlimRig


class Text(Message, frozen=True):
    text: str = ""


ECHO = Verb("executor", "echo", Text, Text)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[SlimRig]:
    one = SlimRig(tmp_path)
    yield one
    one.kill()


class Services:
    """The executor, serving in a thread, from a moment on."""

    def __init__(self, rig: SlimRig, delay: float = 0.0) -> None:
        self._rig = rig
        self._delay = delay
        self.calls = self.ran = 0
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    async def _echo(self, request: Text) -> Text:
        self.calls += 1
        await asyncio.sleep(self._delay)
        self.ran += 1
        if request.text == "raise":
            raise NotFound("not here")
        return request

    async def _serve(self) -> None:
        async with service.connect(self._rig.settings, "executor") as bus:
            await bus.events.ensure()
            async with bus.serve({ECHO: self._echo}):
                await self._end.wait()

    def __enter__(self) -> "Services":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(20)
        self._loop.close()


Answer = tuple[Any, CribusError | None]


def asked(rig: SlimRig, text: str, timeout: float = 10.0) -> Answer:
    shim = rig.slim("shim")
    found: list[Answer] = []
    slim_call.call(
        shim, ECHO, Request(Text(text=text), "", timeout), lambda answer, error: found.append((answer, error))
    )
    rig.until(lambda: found, 15)
    assert shim.answers == {}
    shim.close()
    return found[0]


def test_answers_and_errors_even_when_the_service_comes_later(rig: SlimRig) -> None:
    with Services(rig):
        assert asked(rig, "hi") == (Text(text="hi"), None)
        answer, error = asked(rig, "raise")
        assert answer is None
        assert isinstance(error, NotFound)


def test_a_slow_answer_is_waited_for_and_runs_once(rig: SlimRig) -> None:
    with Services(rig, delay=1.2) as services:
        assert asked(rig, "slow")[0] == Text(text="slow")
        assert services.calls == 1


def test_a_call_under_way_when_the_bus_went_away_is_asked_again_as_soon_as_it_is_back(
    rig: SlimRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slim_call, "RESEND", 60.0)
    with Services(rig, delay=0.3) as services:
        shim = rig.slim("shim")
        found: list[Answer] = []
        request = Request(Text(text="x"), "", 20.0)
        slim_call.call(shim, ECHO, request, lambda answer, error: found.append((answer, error)))
        rig.until(lambda: services.calls == 1)
        rig.kill()
        rig.until(lambda: not shim.up and services.ran == 1)
        rig.start()
        rig.until(lambda: found, 15)
        assert (found, services.calls) == ([(Text(text="x"), None)], 1)
        assert shim.on_up == []
        shim.close()


def test_nobody_there(rig: SlimRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slim_call, "PATIENCE", 0.1)
    assert isinstance(asked(rig, "x")[1], Unavailable)


def test_no_answer_in_time(rig: SlimRig) -> None:
    with Services(rig, delay=2):
        assert asked(rig, "first", 5)[1] is None
        assert isinstance(asked(rig, "slow", 1)[1], DeadlineExceeded)


def test_an_event_is_told_until_the_stream_has_it_and_once(rig: SlimRig) -> None:
    shim = rig.slim("shim")
    done: list[int] = []
    rig.kill()
    rig.until(lambda: not shim.up)
    slim_call.tell(shim, Event(kind=EXITED, id="c", at=1), lambda: done.append(1))
    rig.start()
    with Services(rig):  # makes the stream
        rig.until(lambda: done)
        slim_call.tell(shim, Event(kind=EXITED, id="c", at=1), lambda: done.append(2))
        rig.until(lambda: len(done) == 2)

    async def stored() -> int:
        async with service.connect(rig.settings, "manager") as bus:
            return len([event async for event in bus.history.events(0) if event.kind == EXITED])

    assert asyncio.run(stored()) == 1
    assert shim.answers == {}
    shim.close()
