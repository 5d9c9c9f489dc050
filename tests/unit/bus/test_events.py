"""The event stream: order, replay, durable readers, and a bus that is away while news happens."""

import asyncio
from typing import Any

import pytest
from cribus.api.events import EXITED, SANDBOX_READY, Event
from cribus.bus import codec, events, service, subjects
from cribus.bus.connection import Connection
from cribus.errors import Unavailable


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


def test_events_that_are_held_come_afterwards_in_order(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "manager") as bus:
            await bus.events.ensure()
            with bus.events.held():
                for k in range(3):
                    await bus.publish(Event(kind=SANDBOX_READY, id=f"p{k}", at=2))
                await bus.connection.nats.flush()
                assert await bus.events.last() == 0
            await bus.events.flushed(5)
            got = bus.follow(since=0)
            assert [(await anext(got)).event.id for _ in range(3)] == ["p0", "p1", "p2"]

    with_server(scenario)


def test_events_are_held_for_a_while_only(with_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_HELD", 0.05)

    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "manager") as bus:
            with bus.events.held():
                await bus.publish(Event(kind=SANDBOX_READY, id="p", at=2))
                assert (await anext(bus.follow(since=0))).event.id == "p"

    with_server(scenario)


def test_a_durable_reader_gets_what_it_missed(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "manager") as bus:
            await bus.publish(Event(kind=EXITED, id="a", at=1))
            await bus.publish(Event(kind=EXITED, id="b", at=1))
            reader = bus.follow(EXITED, durable="manager")
            assert (await anext(reader)).event.id == "a"
            assert (await anext(reader)).event.id == "b"
            await reader.aclose()
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


def test_a_reader_of_what_is_new_misses_nothing_of_a_time_when_the_bus_was_away(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "manager") as bus:
            await bus.events.publish(Event(kind=EXITED, id="old", at=1))
            await bus.events.flushed(10)
            reader = bus.follow()
            first = asyncio.ensure_future(anext(reader))
            await _readers(bus, 1)
            await server.kill()
            await bus.connection.down.wait()
            await bus.publish(Event(kind=EXITED, id="meanwhile", at=2))
            await server.start()
            async with asyncio.timeout(20):
                assert (await first).event.id == "meanwhile"
            await reader.aclose()

    with_server(scenario)


def test_a_reader_that_the_server_forgot_reads_on(with_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_IDLE", 0.2)

    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "manager") as bus:
            for number in range(3):
                await bus.events.publish(Event(kind=EXITED, id=f"{number}", at=1))
                await bus.events.flushed(10)
            reader = bus.follow(since=0)
            assert (await anext(reader)).event.id == "0"
            await _readers(bus, 0)  # it was slow, and is not known any more
            async with asyncio.timeout(20):
                assert [(await anext(reader)).event.id for _ in range(2)] == ["1", "2"]
            await reader.aclose()

    with_server(scenario)


def test_a_reader_is_gone_from_the_server_when_it_is_closed(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "manager") as bus:
            await bus.events.publish(Event(kind=EXITED, id="a", at=1))
            await bus.events.flushed(10)
            readers = [bus.follow(since=0) for _ in range(5)]
            for reader in readers:
                await anext(reader)
            await _readers(bus, 5)
            for reader in readers:
                await reader.aclose()
            assert await bus.events.last() == await bus.events.first() == 1

    with_server(scenario)


def test_what_is_no_event_keeps_nobody_from_those_behind_it(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "manager") as bus:
            await bus.events.ensure()
            for durable in ("", "manager"):
                await bus.connection.nats.jetstream().publish("cribus.unit.events.exited.x", b"rubbish")
                await bus.events.publish(Event(kind=EXITED, id="after", at=len(durable)))
                await bus.events.flushed(10)
                async with asyncio.timeout(10):
                    seen = await anext(bus.follow(since=0, durable=durable))
                assert seen.event.id == "after"

    with_server(scenario)


def test_a_stream_that_was_lost_is_read_from_its_new_beginning(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "manager") as bus:
            for number in range(3):
                await bus.events.publish(Event(kind=EXITED, id=f"{number}", at=1))
                await bus.events.flushed(10)
            reader = bus.follow(since=2)
            assert (await anext(reader)).sequence == 3
            await bus.connection.nats.jetstream().delete_stream("cribus_unit_events")
            await bus.events.publish(Event(kind=EXITED, id="new", at=2))
            await bus.events.flushed(10)
            async with asyncio.timeout(40):
                assert (await anext(reader)).event.id == "new"
            await reader.aclose()

    with_server(scenario)


async def _readers(bus: service.Bus, count: int) -> None:
    """Until the stream has so many consumers."""
    async with asyncio.timeout(20):
        while (await bus.events._state()).consumer_count != count:
            pass


def test_what_a_killed_process_had_to_tell_is_told_by_the_next(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "manager") as bus:
            await bus.events.ensure()
            await server.kill()
            await bus.connection.down.wait()
            for number in range(3):
                await bus.events.publish(Event(kind=EXITED, id=f"{number}", at=1))
            bus.events.close()  # with it the lock goes, as when the kernel ends a process
            await server.start()
            async with service.connect(server.settings, "manager") as successor:
                await successor.events.flushed(10)
                assert await successor.events.last() >= 3
            async with service.connect(server.settings, "manager") as third:
                assert await third.events.last() == await bus.events.last()  # nothing is told twice

    with_server(scenario)


def test_what_is_said_is_heard_at_once_though_no_stream_takes_it(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "manager") as bus, service.connect(server.settings, "shim") as shim:
            said = asyncio.create_task(anext(bus.heard(EXITED)))
            event = Event(kind=EXITED, id="a", at=1, exit_code=7)
            while not said.done():  # until somebody listens
                await shim.connection.send(subjects.event("unit", EXITED, "a"), codec.pack_message(event))
                await asyncio.wait({said}, timeout=0.05)
            assert said.result() == event

    with_server(scenario)


def test_what_is_not_stored_is_complained_of(with_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stores_nothing(*_: object) -> None:
        raise Unavailable("no answer")

    async def scenario(server: Any) -> None:
        async with (
            service.connect(server.settings, "manager") as bus,
            service.connect(server.settings, "cli") as watching,
        ):
            heard = await watching.connection.nats.subscribe(subjects.stuck("unit"))
            await watching.connection.nats.flush()

            async def fails(patience: float) -> None:
                with monkeypatch.context() as full:
                    full.setattr(Connection, "while_up", stores_nothing)
                    full.setattr("cribus.bus.connection.PATIENCE", patience)
                    with pytest.raises(Unavailable):
                        await bus.kv.put("sandboxes.a", b"x")
                await bus.connection.nats.flush()
                await watching.connection.nats.flush()

            await fails(60.0)
            assert not heard.pending_msgs, "it may just be slow"
            await bus.kv.put("sandboxes.a", b"y")
            await fails(0.01)
            assert not heard.pending_msgs, "something was stored in between"
            await fails(0.0)
            assert (await heard.next_msg(5)).subject == "cribus.unit.stuck.manager"

    with_server(scenario)
