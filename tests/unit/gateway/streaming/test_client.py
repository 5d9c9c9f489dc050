"""The lanes of a remote command over SPDY and over WebSocket."""

import asyncio
import base64

import pytest
from cribus.errors import InvalidArgument
from cribus.gateway.streaming import client as c
from cribus.gateway.streaming import websocket as w
from cribus.gateway.streaming.multiplex import Connection
from cribus.gateway.streaming.websocket_pipe import WebSocket

from tests.unit.gateway.streaming.masked import MemoryPipe, masked
from tests.unit.gateway.streaming.peer import Peer


@pytest.mark.parametrize(
    ("protocol", "number"), [("v5.channel.k8s.io", 5), ("v4.channel.k8s.io", 4), ("channel.k8s.io", 1)]
)
def test_versions(protocol: str, number: int) -> None:
    assert c.version(protocol) == number


async def _spdy(protocol: str, names: list[str], wanted: set[str]) -> c.Client:
    pipe, peer = MemoryPipe(), Peer()
    connection = Connection(pipe)
    reading = asyncio.create_task(connection.run())
    for number, name in enumerate(names):
        pipe.say(peer.open(2 * number + 1, {"streamType": name}))
    pipe.say(b"")
    try:
        return await c.over_spdy(connection, protocol, wanted)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def test_spdy_streams_in_any_order() -> None:
    found = asyncio.run(_spdy("v4.channel.k8s.io", ["stdout", "odd", "resize", "error"], {c.STDOUT, c.RESIZE}))
    assert set(found.lanes) == {c.STDOUT, c.RESIZE, c.ERROR}


def test_spdy_before_v3_has_no_resize() -> None:
    assert set(asyncio.run(_spdy("v2.channel.k8s.io", ["error"], {c.RESIZE})).lanes) == {c.ERROR}


def test_spdy_client_that_leaves_early() -> None:
    with pytest.raises(InvalidArgument, match="left"):
        asyncio.run(_spdy("v4.channel.k8s.io", ["error"], {c.STDIN}))


def test_websocket_lanes() -> None:
    async def run() -> None:
        pipe = MemoryPipe()
        socket = WebSocket(pipe)
        channels = c.Channels(socket, "v5.channel.k8s.io")
        reading = asyncio.create_task(channels.run())
        pipe.say(masked(w.BINARY, b"\0in", last=False) + masked(0, b"put"))
        pipe.say(masked(w.BINARY, b'\4{"Width":1}') + masked(w.BINARY, b"\xff\0"))
        lanes = channels.client.lanes
        assert [await lanes[c.STDIN].read() for _ in range(3)] == [b"in", b"put", b""]
        assert await lanes[c.RESIZE].read() == b'{"Width":1}'
        await channels.greet()
        await lanes[c.STDERR].write(b"x")
        await lanes[c.STDERR].close()
        assert bytes(pipe.sent) == w.frame(w.BINARY, b"\1") + w.frame(w.BINARY, b"\2x")
        pipe.say(masked(w.CLOSE))
        await channels.client.gone.wait()
        assert await lanes[c.RESIZE].read() == b""
        await reading

    asyncio.run(run())


async def _base64(*frames: bytes) -> tuple[bytes, bytes, MemoryPipe]:
    """What arrives on standard input and as sizes; a lane that broke raises ConnectionError."""
    pipe = MemoryPipe()
    channels = c.Channels(WebSocket(pipe), "v4.base64.channel.k8s.io")
    for frame in frames:
        pipe.say(frame)
    pipe.say(masked(w.CLOSE))
    await channels.run()
    lanes = channels.client.lanes
    await lanes[c.STDOUT].write(b"\xff")
    return await lanes[c.STDIN].read(), await lanes[c.RESIZE].read(), pipe


def test_base64_may_be_cut_anywhere() -> None:
    cut = (masked(w.TEXT, b"0aW", last=False), masked(0, b"5p"), masked(w.TEXT, b"4e30="))
    said, size, pipe = asyncio.run(_base64(*cut))
    assert (said, size) == (base64.b64decode(b"aW5p"), b"{}")
    assert bytes(pipe.sent).endswith(w.frame(w.TEXT, b"1/w=="))


@pytest.mark.parametrize("frame", [masked(w.TEXT, b"0a"), masked(w.TEXT, b"0!!!!")])
def test_what_is_no_base64_breaks_the_connection(frame: bytes) -> None:
    with pytest.raises(ConnectionError, match="not in base64"):
        asyncio.run(_base64(frame))


def test_a_message_in_base64_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c, "_LONGEST", 100)
    pieces = (masked(w.TEXT if number == 0 else 0, b"0" * 30, last=False) for number in range(4))
    with pytest.raises(ConnectionError, match="more than 100 bytes"):
        asyncio.run(_base64(*pieces))
