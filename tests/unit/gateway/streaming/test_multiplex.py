"""Streams over one SPDY connection."""

import asyncio
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from cribus.gateway.streaming import spdy
from cribus.gateway.streaming.multiplex import Connection, Stream

from tests.unit.gateway.streaming.masked import MemoryPipe
from tests.unit.gateway.streaming.peer import Peer, control, data

Scenario = Callable[[Connection, MemoryPipe, Peer], Coroutine[Any, Any, None]]


def play(scenario: Scenario) -> None:
    async def run() -> None:
        pipe = MemoryPipe()
        connection = Connection(pipe)
        reading = asyncio.create_task(connection.run())
        try:
            async with asyncio.timeout(10):
                await scenario(connection, pipe, Peer())
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    asyncio.run(run())


async def opened(connection: Connection) -> Stream:
    stream = await connection.accept()
    assert stream is not None
    return stream


def test_a_stream_both_ways() -> None:
    async def scenario(connection: Connection, pipe: MemoryPipe, peer: Peer) -> None:
        pipe.say(peer.open(1, {"streamtype": "data"}) + data(1, b"in") + data(1, b"", fin=True))
        stream = await opened(connection)
        assert stream.headers == {"streamtype": "data"}
        assert [await stream.read(), await stream.read()] == [b"in", b""]
        await stream.write(b"out")
        await stream.close()
        await stream.close()
        await connection.close()
        kinds = peer.frames(bytes(pipe.sent))
        assert kinds[0][0] == 2
        assert kinds[1:] == [("data", 1, False, b"out"), ("data", 1, True, b""), (7, struct.pack(">II", 1, 0))]

    play(scenario)


def test_a_reset_is_an_error_for_this_stream_only() -> None:
    async def scenario(connection: Connection, pipe: MemoryPipe, peer: Peer) -> None:
        pipe.say(peer.open(1, {}) + peer.open(3, {}) + control(3, struct.pack(">II", 1, 5)) + data(3, b"x"))
        first, second = await opened(connection), await opened(connection)
        with pytest.raises(ConnectionError):
            await first.read()
        with pytest.raises(ConnectionError):
            await first.write(b"x")
        assert await second.read() == b"x"

    play(scenario)


def test_the_end_of_the_connection_is_the_end_of_all() -> None:
    async def scenario(connection: Connection, pipe: MemoryPipe, peer: Peer) -> None:
        pipe.say(peer.open(1, {}))
        stream = await opened(connection)
        pipe.say(b"")
        with pytest.raises(ConnectionError, match="closed"):
            await stream.read()
        assert await connection.accept() is None
        assert connection.gone.is_set()

    play(scenario)


def test_a_number_cannot_be_used_twice() -> None:
    async def scenario(connection: Connection, pipe: MemoryPipe, peer: Peer) -> None:
        pipe.say(peer.open(3, {}) + peer.open(3, {}) + peer.open(2, {}) + peer.open(5, {}))
        assert [(await opened(connection)).number for _ in (1, 2)] == [3, 5]
        refused = [frame for frame in peer.frames(bytes(pipe.sent)) if frame[0] == 3]
        assert refused == [(3, struct.pack(">II", number, spdy.PROTOCOL_ERROR)) for number in (3, 2)]

    play(scenario)


def test_a_slow_window_stops_only_its_stream() -> None:
    async def scenario(connection: Connection, pipe: MemoryPipe, peer: Peer) -> None:
        pipe.say(control(4, struct.pack(">III", 1, 7, 4)) + peer.open(1, {}) + peer.open(3, {}))
        first, second = await opened(connection), await opened(connection)
        stuck = asyncio.create_task(first.write(b"123456"))
        await second.write(b"abcd")
        assert not stuck.done()
        pipe.say(control(9, struct.pack(">II", 1, 2)))
        await stuck
        sent = sorted(frame for frame in peer.frames(bytes(pipe.sent)) if frame[0] == "data")
        assert sent == [("data", 1, False, b"1234"), ("data", 1, False, b"56"), ("data", 3, False, b"abcd")]

    play(scenario)


def test_rubbish_ends_the_connection() -> None:
    async def scenario(connection: Connection, pipe: MemoryPipe, peer: Peer) -> None:
        pipe.say(control(1, b"", version=2))
        assert await connection.accept() is None

    play(scenario)
