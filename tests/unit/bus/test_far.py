"""A process at the other end of the bus's frames."""

import asyncio
from typing import Any

import pytest
from cribus.bus import far, streams
from cribus.errors import Unavailable

from tests.unit.gateway.stand import Process, Shim, program


def _shim() -> tuple[Shim, Any]:
    shim = Shim(program)
    return shim, far.opened(shim.lines, stdin=True, outputs=[streams.STDOUT, streams.STDERR])


def test_both_ways_beyond_the_window() -> None:
    async def run() -> None:
        shim, opened = _shim()
        async with asyncio.timeout(10), opened as stream:
            process: Process = shim.processes[stream.id]
            size = 3 * streams.WINDOW
            sending = asyncio.create_task(stream.write(bytes(size)))
            got = 0
            while got < size:
                got += len(await process.read())
            await sending
            stream.end()
            assert await process.read() == b""
            writing = asyncio.create_task(process.write(streams.STDOUT, bytes(size)))
            got = 0
            while got < size:
                got += len(await stream.read(streams.STDOUT))
            await writing
            stream.resize(80, 24)
            assert await process.sizes.get() == (80, 24)
            process.exit(5, "why")
            assert await stream.read(streams.STDOUT) == b""
            assert await stream.exit == (5, "why")
        assert process.gone.is_set()

    asyncio.run(run())


def test_a_shim_that_is_gone_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(far, "_PROBE", 0.01)

    async def run() -> None:
        shim, opened = _shim()
        async with asyncio.timeout(10), opened as stream:
            shim.processes[stream.id].listened = False
            stream.begin()
            with pytest.raises(Unavailable, match="shim was replaced"):
                await stream.exit

    asyncio.run(run())


def test_after_a_lost_connection_everything_is_said_again() -> None:
    async def run() -> None:
        shim, opened = _shim()
        async with asyncio.timeout(10), opened as stream:
            process = shim.processes[stream.id]
            await process.write(streams.STDOUT, b"once")
            process.stream.reconnected()
            stream.on_reconnect()
            assert await stream.read(streams.STDOUT) == b"once"
            process.exit(0)
            assert await stream.read(streams.STDOUT) == b""

    asyncio.run(run())
