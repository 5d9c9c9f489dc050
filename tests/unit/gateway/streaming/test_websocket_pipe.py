"""Messages of one WebSocket, and the tunnel over them."""

import asyncio

from cribus.gateway.streaming import websocket as w
from cribus.gateway.streaming.websocket_pipe import Tunnel, WebSocket

from tests.unit.gateway.streaming.masked import MemoryPipe, masked


def test_pings_are_answered_and_a_close_ends() -> None:
    async def run() -> None:
        pipe = MemoryPipe()
        socket = WebSocket(pipe)
        pipe.say(masked(w.PING, b"?") + masked(w.BINARY, b"x") + masked(w.CLOSE))
        assert await socket.receive() == w.Data(b"x", True, True, False)
        assert await socket.receive() is None
        assert bytes(pipe.sent) == w.frame(w.PONG, b"?")
        await socket.close()
        assert pipe.sent.endswith(w.closing(w.NORMAL))

    asyncio.run(run())


def test_the_tunnel_is_bytes() -> None:
    async def run() -> None:
        pipe = MemoryPipe()
        tunnel = Tunnel(WebSocket(pipe))
        pipe.say(masked(w.BINARY, b"") + masked(w.BINARY, b"ab", last=False) + masked(0, b"cd"))
        pipe.say(b"")
        assert [await tunnel.read() for _ in range(3)] == [b"ab", b"cd", b""]
        await tunnel.write(b"xyz")
        assert bytes(pipe.sent) == w.frame(w.BINARY, b"xyz")
        pipe.left = True
        await tunnel.close()  # a client that left needs no good-bye

    asyncio.run(run())
