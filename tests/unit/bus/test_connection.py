import asyncio
import time
from typing import Any

import pytest
from cribus.bus import service
from cribus.bus.connection import pause
from cribus.errors import Unavailable


async def insist(bus: service.Bus) -> None:
    """Send until cancelled: right after a reconnect a message may be lost, which calls make up for."""
    while True:
        await bus.connection.send("cribus.unit.manager.x", b"2")
        await pause(0.05)


def test_nothing_is_sent_late(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "cli") as bus:
            heard: asyncio.Queue[bytes] = asyncio.Queue()
            assert await bus.connection.send("cribus.unit.manager.x", b"1")
            await server.kill()
            await bus.connection.down.wait()
            assert not await bus.connection.send("cribus.unit.manager.x", b"stale")
            await server.start()
            await bus.connection.up.wait()
            async with service.connect(server.settings, "manager") as other:

                async def hear(msg: Any) -> None:
                    heard.put_nowait(msg.data)

                await other.connection.nats.subscribe("cribus.unit.manager.x", cb=hear)
                await other.connection.nats.flush()
                asking = asyncio.create_task(insist(bus))
                assert await heard.get() == b"2"  # what was sent while the bus was away never comes
                asking.cancel()

    with_server(scenario)


def test_work_is_done_again_when_the_bus_comes_back(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "cli") as bus:
            attempts = 0
            restarts: list[asyncio.Task[None]] = []

            async def restart() -> None:
                await server.kill()
                await server.start()

            async def attempt() -> int:
                nonlocal attempts
                attempts += 1
                if attempts == 1:
                    restarts.append(asyncio.create_task(restart()))
                    await asyncio.Event().wait()
                return attempts

            assert await bus.connection.while_up(attempt) == 2
            await server.kill()
            await bus.connection.down.wait()
            began = time.monotonic()
            with pytest.raises(Unavailable):
                await bus.connection.while_up(attempt, patience=0.2)
            assert time.monotonic() - began < 2

    with_server(scenario)


def test_a_pause_ends() -> None:
    began = time.monotonic()
    asyncio.run(pause(0.01))
    assert time.monotonic() - began >= 0.01


def test_the_bus_knows_who_still_listens(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "manager") as bus:
            async with service.connect(server.settings, "gateway") as gateway:
                where = gateway.connection.reply_to("x")
                assert await bus.connection.listened(where)
            async with asyncio.timeout(10):  # the server learns of a connection's end when it reads it
                while await bus.connection.listened(where):
                    pass

    with_server(scenario)


def test_a_process_says_which_of_its_calls_still_wait(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "manager") as bus:
            async with service.connect(server.settings, "gateway") as gateway:
                left, waiting = (gateway.connection.reply_to(one) for one in "xy")
                gateway.connection.gave_up("x")
                assert [await bus.connection.waits(one) for one in (left, waiting)] == [False, True]
                assert await bus.connection.listened(left)
            async with asyncio.timeout(10):
                while await bus.connection.waits(waiting):
                    pass

    with_server(scenario)


def test_a_flush_ends_after_what_was_sent_and_subscribed_before(with_server: Any) -> None:
    """nats-py's own lets about one subscription in fifty come later."""

    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "manager") as bus, service.connect(server.settings, "cli") as cli:
            for _ in range(500):
                there = asyncio.Event()

                async def hear(msg: Any, there: asyncio.Event = there) -> None:
                    there.set()

                subscription = await bus.connection.nats.subscribe("cribus.unit.manager.x", cb=hear)
                await bus.connection.nats.flush()
                assert await cli.connection.listened("cribus.unit.manager.x")
                await there.wait()
                await subscription.unsubscribe()
                await bus.connection.nats.flush()
                assert not await cli.connection.listened("cribus.unit.manager.x")

    with_server(scenario)
