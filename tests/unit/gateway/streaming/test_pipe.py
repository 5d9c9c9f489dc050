"""Buffers with a bound, and a TCP connection's end."""

import asyncio
import contextlib

import pytest
from cribus.gateway.streaming import pipe
from cribus.gateway.streaming.pipe import LIMIT, Buffer, Tcp


def test_a_buffer_keeps_order_and_ends() -> None:
    async def run() -> None:
        buffer = Buffer()
        buffer.put(b"a")
        buffer.put(b"b")
        buffer.end()
        buffer.put(b"late")
        assert [await buffer.get() for _ in range(3)] == [b"a", b"b", b""]

    asyncio.run(run())


def test_a_full_buffer_makes_its_writer_wait() -> None:
    async def run() -> None:
        buffer = Buffer()
        buffer.put(bytes(LIMIT))
        waiting = asyncio.create_task(buffer.room(lambda: False))
        await asyncio.sleep(0)
        assert not waiting.done()
        await buffer.get()
        await waiting

    asyncio.run(run())


def test_a_client_that_left_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe, "_LOOK", 0.01)

    async def run() -> None:
        buffer = Buffer()
        buffer.put(bytes(LIMIT))
        with pytest.raises(ConnectionError, match="went away"):
            await buffer.room(lambda: True)

    asyncio.run(run())


def test_a_broken_buffer_gives_nothing() -> None:
    async def run() -> None:
        buffer = Buffer()
        buffer.put(b"half")
        buffer.fail("why")
        with pytest.raises(ConnectionError, match="why"):
            await buffer.get()

    asyncio.run(run())


def test_tcp_closes_without_losing_its_last_word() -> None:
    async def run() -> None:
        seen: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tcp = Tcp(reader, writer, b"first ")
            assert await tcp.read() + await tcp.read() == b"first ping"
            before = tcp.hung_up()
            await tcp.write(b"x" * 3_000_000)
            await tcp.close()
            seen.set_result(before)

        server = await asyncio.start_server(accepted, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"ping")
        assert len(await reader.read(-1)) == 3_000_000
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        assert await seen is False
        server.close()
        await server.wait_closed()

    asyncio.run(run())
