"""The event stream: order, replay, durable readers, and a bus that is away while news happens."""

import asyncio
from typing import Any

from cribus.api.events import EXITED, SANDBOX_READY, Event
from cribus.bus import service


def test_events_wait_while_the_bus_is_away_and_come_once_in_order(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "manager") as bus:
            await bus.publish(Event(kind=EXITED, id="a", at=1, exit_code=7))
            await bus.events.flushed(5)
            await server.kill()
            await bus.connection.down.wait()
            for k in range(5):
                await bus.publish(Event(kind=SANDBOX_READY, id=f"p{k}", at=2))
            await bus.publish(Event(kind=EXITED, id="a", at=1, exit_code=7))
            await server.start()
            got = []
            async for seen in bus.follow(since=0):
                got.append((seen.sequence, seen.event.kind, seen.event.id))
                if len(got) == 6:
                    break
            assert [kind for _, kind, _ in got] == [EXITED] + [SANDBOX_READY] * 5
            assert [id for _, _, id in got[1:]] == [f"p{k}" for k in range(5)]
            await bus.events.flushed(5)
            assert (await bus.events._js.stream_info("cribus_unit_events")).state.messages == 6

    with_server(scenario)


def test_a_durable_reader_gets_what_it_missed(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "manager") as bus:
            await bus.publish(Event(kind=EXITED, id="a", at=1))
            await bus.publish(Event(kind=EXITED, id="b", at=1))
            reader = bus.follow(EXITED, durable="manager")
            assert (await anext(reader)).event.id == "a"
            assert (await anext(reader)).event.id == "b"
            await reader.aclose()  # type: ignore[attr-defined]
        async with service.connect(server.settings, "manager") as bus:
            await bus.publish(Event(kind=EXITED, id="c", at=1))
            async with asyncio.timeout(40):
                ids = []
                async for seen in bus.follow(EXITED, durable="manager"):
                    ids.append(seen.event.id)
                    if seen.event.id == "c":
                        break
            assert "a" not in ids

    with_server(scenario)


def test_a_reader_that_waits_hears_the_news_after_the_bus_was_away(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "manager") as bus:
            heard: asyncio.Queue[str] = asyncio.Queue()

            async def read() -> None:
                async for seen in bus.follow(EXITED, durable="manager"):
                    heard.put_nowait(seen.event.id)

            reading = asyncio.create_task(read())
            await bus.publish(Event(kind=EXITED, id="before", at=1))
            assert await heard.get() == "before"
            await server.kill()
            await bus.connection.down.wait()
            await server.start()
            await bus.connection.up.wait()
            await bus.publish(Event(kind=EXITED, id="after", at=2))
            async with asyncio.timeout(10):
                while await heard.get() != "after":
                    pass
            reading.cancel()

    with_server(scenario)


def test_news_from_before_there_was_a_bus_is_forwarded(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        news: asyncio.Queue[Event] = asyncio.Queue()
        news.put_nowait(Event(kind="exited", id="early", at=1))
        async with service.connect(server.settings, "manager") as bus:
            forwarding = asyncio.create_task(bus.events.forward(news))
            async for seen in bus.follow(since=0):
                assert seen.event.id == "early"
                break
            forwarding.cancel()

    with_server(scenario)
