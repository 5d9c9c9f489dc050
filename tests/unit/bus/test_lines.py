"""Frames of a stream over a real nats-server, also one that is killed meanwhile."""

import asyncio
from typing import Any

from cribus.bus import far, lines, service, streams, subjects

from tests.unit.bus.conftest import Server, with_server
from tests.unit.gateway.stand import Process

__all__ = ["with_server"]


async def _say(peer: service.Bus, subject: str, frames_: "asyncio.Queue[bytes]") -> None:
    while True:
        await peer.connection.send(subject, await frames_.get())


def test_a_stream_outlives_the_bus(with_server: Any) -> None:
    async def scenario(server: Server) -> None:
        async with (
            service.connect(server.settings, "gateway") as bus,
            service.connect(server.settings, "shim") as peer,
            far.opened(lines.lines(bus.connection), stdin=True, outputs=[streams.STDOUT]) as stream,
        ):
            outgoing: asyncio.Queue[bytes] = asyncio.Queue()
            process = Process(outgoing.put_nowait)
            peer.connection.on_reconnect.append(process.stream.reconnected)

            async def heard(msg: Any) -> None:
                await process.send(msg.data)

            await peer.connection.nats.subscribe(subjects.stream("unit", stream.id, "s"), cb=heard)
            await peer.connection.nats.flush()
            await bus.connection.nats.flush()
            saying = asyncio.create_task(_say(peer, subjects.stream("unit", stream.id, "c"), outgoing))
            stream.begin()
            await _exchange(server, stream, process)
            saying.cancel()

    with_server(scenario)


async def _exchange(server: Server, stream: far.Far, process: Process) -> None:
    """What is said before, during and after an absence of the bus arrives once."""
    await process.write(streams.STDOUT, b"before")
    assert await stream.read(streams.STDOUT) == b"before"
    await server.kill()
    await process.write(streams.STDOUT, b"while away")
    await stream.write(b"typed")
    await server.start()
    assert await stream.read(streams.STDOUT) == b"while away"
    assert await process.read() == b"typed"
    process.exit(4)
    assert await stream.exit == (4, "")


def test_nobody_serves_the_stream(with_server: Any) -> None:
    async def scenario(server: Server) -> None:
        async with service.connect(server.settings, "gateway") as bus:
            way = lines.lines(bus.connection)
            async with way("s" * 32, lambda frame: None, lambda: None) as line:
                assert await line.listened()
                async with asyncio.timeout(10):
                    while await line.listened():
                        await bus.connection.nats.flush()

    with_server(scenario)
