"""Reading what was: all of it, from a time on, and nothing of what is not there."""

import time
from collections.abc import Callable

from cribus.api.events import EXITED, Event
from cribus.api.trace import Span
from cribus.bus import service

from tests.unit.bus.conftest import Scenario, Server


def test_events_and_spans_many_at_a_time(with_server: Callable[[Scenario], None]) -> None:
    async def scenario(server: Server) -> None:
        async with service.connect(server.settings, "manager") as bus, service.connect(server.settings, "cli") as cli:
            assert [event async for event in cli.history.events(0)] == []
            assert [span async for span in cli.history.spans(0)] == []
            await bus.trace.ensure()
            for number in range(700):
                await bus.publish(Event(kind=EXITED, id=f"c{number}", at=number))
                bus.trace._take(Span(name=f"manager.run.{number}", began=1, took=1))
            await bus.events.flushed(20)
            await bus.trace.flush()
            while len([span async for span in cli.history.spans(0)]) < 700:  # nobody says when the stream has them
                pass
            assert [event.at async for event in cli.history.events(0)] == list(range(700))
            assert [span.name for span in [span async for span in cli.history.spans(0)]] == [
                f"manager.run.{number}" for number in range(700)
            ]

    with_server(scenario)


def test_from_a_time_on(with_server: Callable[[Scenario], None]) -> None:
    async def scenario(server: Server) -> None:
        async with service.connect(server.settings, "manager") as bus, service.connect(server.settings, "cli") as cli:
            await bus.publish(Event(kind=EXITED, id="old", at=1))
            await bus.events.flushed(20)
            between = time.time_ns()
            await bus.publish(Event(kind=EXITED, id="new", at=2))
            await bus.events.flushed(20)
            assert [event.id async for event in cli.history.events(between)] == ["new"]
            assert [event.id async for event in cli.history.events(time.time_ns())] == []

    with_server(scenario)
