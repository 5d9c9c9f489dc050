"""Pairs of streams become connections."""

import asyncio
import socket
from typing import Any

from cribus.errors import Unavailable
from cribus.gateway.streaming.multiplex import Connection
from cribus.gateway.streaming.port_forward import forward

from tests.unit.gateway.streaming.masked import MemoryPipe
from tests.unit.gateway.streaming.peer import Peer, data


async def _echo(port: int) -> socket.socket:
    """A connection whose other end says what it heard, once it heard the end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    def serve() -> None:
        with theirs:
            heard = b""
            while block := theirs.recv(1000):
                heard += block
            theirs.sendall(f"{port}:".encode() + heard)

    asyncio.get_running_loop().run_in_executor(None, serve)
    return ours


async def _nobody(port: int) -> socket.socket:
    raise Unavailable(f"nobody answers at port {port}")


def played(connect: Any, ports: list[int], *wires: dict[str, str]) -> list[tuple[object, ...]]:
    """Open these streams, half-close each after "x" on the data streams; the data frames that come back."""

    async def run() -> list[tuple[object, ...]]:
        pipe, peer = MemoryPipe(), Peer()
        connection = Connection(pipe)
        reading = asyncio.create_task(connection.run())
        serving = asyncio.create_task(forward(connection, connect, ports))
        for index, headers in enumerate(wires):
            number = 2 * index + 1
            content = b"x" if headers["streamtype"] == "data" else b""
            pipe.say(peer.open(number, headers) + data(number, content, fin=True))
        async with asyncio.timeout(10):
            seen: list[tuple[object, ...]] = []
            while sum(1 for frame in seen if frame[0] == "data" and frame[2]) < len(wires):
                await pipe.wrote.wait()
                pipe.wrote.clear()
                seen += peer.frames(bytes(pipe.sent))
                pipe.sent.clear()
            pipe.say(b"")
            await serving
            await reading
        return [frame for frame in seen if frame[0] == "data" and frame[3]]

    return asyncio.run(run())


def pair(request: str, port: str) -> list[dict[str, str]]:
    return [{"streamtype": kind, "port": port, "requestid": request} for kind in ("error", "data")]


def test_pairs_by_request_in_any_order() -> None:
    first, second = pair("0", "80"), pair("1", "81")
    got = played(_echo, [], first[0], second[1], second[0], first[1])
    assert sorted(frame[1:] for frame in got) == [(3, False, b"81:x"), (7, False, b"80:x")]


def test_clients_without_request_ids() -> None:
    streams = [{"streamtype": kind, "port": "80"} for kind in ("error", "data")]
    assert played(_echo, [80], *streams) == [("data", 3, False, b"80:x")]


def test_a_refusal_is_told_on_the_error_stream() -> None:
    assert played(_nobody, [], *pair("0", "80")) == [("data", 1, False, b"nobody answers at port 80")]
    ((_, stream, _, why),) = played(_echo, [80], *pair("0", "81"))
    assert (stream, b"not asked for" in bytes(str(why), "ascii")) == (1, True)
    ((_, stream, _, why),) = played(_echo, [], *pair("0", "x"))
    assert (stream, b"is no port" in bytes(str(why), "ascii")) == (1, True)
