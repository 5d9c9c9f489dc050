"""Port forwarding: pairs of SPDY streams, each pair one TCP connection to a port of the pod.

A pair is an error stream and a data stream with the same header `requestid` (clients before that
header open the data stream right after its error stream, so its number is two higher).
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from cribus.errors import CribusError, InvalidArgument
from cribus.gateway.streaming import spdy
from cribus.gateway.streaming.multiplex import Connection, Stream

PROTOCOL = "portforward.k8s.io"
Connect = Callable[[int], Awaitable[socket.socket]]
_PAIRING = 30.0  # seconds in which the second stream of a pair must come
_READ = 64 << 10
_logger = logging.getLogger(__name__)


class _Half(NamedTuple):
    stream: Stream
    timer: asyncio.TimerHandle


async def forward(connection: Connection, connect: Connect, ports: list[int]) -> None:
    """Serve one client until it closes. `ports` empty allows any."""
    waiting: dict[str, _Half] = {}
    async with asyncio.TaskGroup() as group:
        while (stream := await connection.accept()) is not None:
            request = _request(stream)
            other = waiting.pop(request, None)
            if other is None or _type(other.stream) == _type(stream):
                waiting[request] = _Half(stream, _give_up_later(group, waiting, request))
                continue
            other.timer.cancel()
            pair = sorted((stream, other.stream), key=_type)  # data, error
            group.create_task(_served(connect, pair[0], pair[1], ports))
        for half in waiting.values():
            half.timer.cancel()


def _type(stream: Stream) -> str:
    return stream.headers.get("streamtype", "")


def _request(stream: Stream) -> str:
    known = stream.headers.get("requestid", "")
    return known or str(stream.number if _type(stream) == "error" else stream.number - 2)


def _give_up_later(group: asyncio.TaskGroup, waiting: dict[str, _Half], request: str) -> asyncio.TimerHandle:
    def give_up() -> None:
        half = waiting.pop(request, None)
        if half is not None:
            group.create_task(_reset(half.stream, spdy.CANCEL))

    return asyncio.get_running_loop().call_later(_PAIRING, give_up)


async def _reset(stream: Stream, status: int) -> None:
    with contextlib.suppress(OSError):  # the client is gone: so is the stream
        await stream.reset(status)


async def _served(connect: Connect, data: Stream, error: Stream, ports: list[int]) -> None:
    """One pair. What goes wrong is told on its error stream and touches no other pair."""
    try:
        target = await connect(_port(data, ports))
    except CribusError as refused:
        await _refuse(data, error, refused.message)
        return
    with target:
        try:
            await _pumped(data, target)
            await data.close()
            await error.close()
        except OSError as broken:
            _logger.debug("forwarded connection broke", extra={"cause": str(broken)})
            await _reset(data, spdy.CANCEL)
            await _reset(error, spdy.CANCEL)


def _port(stream: Stream, ports: list[int]) -> int:
    text = stream.headers.get("port", "")
    port = int(text) if text.isdecimal() and len(text) < 6 else 0
    if not 0 < port < 65536:
        raise InvalidArgument(f"header port {text!r} is no port: it must be a number from 1 to 65535")
    if ports and port not in ports:
        raise InvalidArgument(f"port {port} was not asked for; this address forwards {ports}")
    return port


async def _refuse(data: Stream, error: Stream, why: str) -> None:
    try:
        await error.write(why.encode())
        await error.close()
        await data.close()
    except OSError as lost:
        _logger.debug("client left before it was refused", extra={"cause": str(lost), "refusal": why})


async def _pumped(data: Stream, target: socket.socket) -> None:
    """Both ways until the pod's side ends, or the client gives up. Raises OSError when one breaks."""
    to_pod = asyncio.create_task(_to_pod(data, target))
    to_client = asyncio.create_task(_to_client(data, target))
    was_reset = asyncio.create_task(data.was_reset.wait())
    tasks = (to_pod, to_client, was_reset)
    try:
        await asyncio.wait({to_client, was_reset}, return_when=asyncio.FIRST_COMPLETED)
        if to_client.done():
            to_client.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _to_pod(data: Stream, target: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while block := await data.read():
        await loop.sock_sendall(target, block)
    target.shutdown(socket.SHUT_WR)


async def _to_client(data: Stream, target: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while block := await loop.sock_recv(target, _READ):
        await data.write(block)
