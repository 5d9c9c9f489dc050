"""The streaming server: HTTP on a TCP address, upgraded to SPDY or WebSocket behind a one-time door."""

import asyncio
import base64
import binascii
import contextlib
import logging
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import TYPE_CHECKING

from cribus.api import shim
from cribus.api.verb import Call
from cribus.bus import far
from cribus.errors import CribusError, FailedPrecondition, InvalidArgument
from cribus.gateway.streaming import attach, client, exec, http, netns, port_forward, websocket
from cribus.gateway.streaming.doors import Command, Door, Doors, Forward
from cribus.gateway.streaming.multiplex import Connection
from cribus.gateway.streaming.pipe import Pipe, Tcp
from cribus.gateway.streaming.websocket_pipe import Tunnel, WebSocket

if TYPE_CHECKING:
    import ssl

_TUNNEL = f"SPDY/3.1+{port_forward.PROTOCOL}"
_logger = logging.getLogger(__name__)


class Streaming:
    """Opens doors for the front, and serves them."""

    def __init__(self, call: Call, lines: far.Open) -> None:
        self._call = call
        self._lines = lines
        self._doors = Doors()
        self._base = ""
        self._serving: set[asyncio.Task[None]] = set()

    def exec(self, request: shim.OpenExec) -> str:
        lanes = exec.wanted(request, request.tty)
        return self._base + self._doors.open(Command("exec", lanes, exec.run(self._call, self._lines, request)))

    def attach(self, request: shim.OpenAttach, tty: bool) -> str:
        lanes = exec.wanted(request, tty)
        run = attach.run(self._call, self._lines, request, tty)
        return self._base + self._doors.open(Command("attach", lanes, run))

    def port_forward(self, namespace: str, ports: list[int]) -> str:
        return self._base + self._doors.open(Forward(lambda port: netns.connect(namespace, port), ports))

    @contextlib.asynccontextmanager
    async def serving(self, address: str, tls: "ssl.SSLContext | None" = None) -> AsyncIterator[None]:
        """While inside, serve doors on `address` (host:port; port 0 takes a free one), over TLS if that is given."""
        host, _, port = address.rpartition(":")
        server = await asyncio.start_server(self._accepted, host.strip("[]") or "127.0.0.1", int(port), ssl=tls)
        bound = server.sockets[0].getsockname()
        name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound[0], bound[0])
        self._base = f"http{'s' if tls else ''}://{f'[{name}]' if ':' in name else name}:{bound[1]}"
        try:
            yield
        finally:
            server.close()
            for task in list(self._serving):
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)
            await server.wait_closed()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        tcp = Tcp(reader, writer)
        try:
            await self._serve(reader, tcp)
        except (OSError, EOFError) as error:
            _logger.debug("stream connection broke", extra={"cause": str(error)})
        except CribusError as error:
            _logger.warning("stream refused", extra={"cause": error.message})
        except asyncio.CancelledError:
            _logger.debug("stream cut, the gateway stops")
        finally:
            self._serving.discard(task)
            tcp.abort()

    async def _serve(self, reader: asyncio.StreamReader, tcp: Tcp) -> None:
        """One connection, from its first byte to its last."""
        try:
            request = await http.head(reader)
        except InvalidArgument as error:
            await tcp.write(http.refusal(HTTPStatus.BAD_REQUEST, error.message))
            return await tcp.close()
        if not _upgradable(request):
            await tcp.write(http.refusal(HTTPStatus.BAD_REQUEST, "ask for an upgrade to SPDY/3.1 or websocket"))
            return await tcp.close()
        door = self._doors.enter(request.path)
        if door is None:
            why = "no such stream: its address was used already, or is older than a minute"
            await tcp.write(http.refusal(HTTPStatus.NOT_FOUND, why))
        elif request.first("upgrade").lower() == "websocket":
            await _websocket(request, tcp, door)
        else:
            await _spdy(request, tcp, door)
        return await tcp.close()


def tls(certificate: str, key: str) -> "ssl.SSLContext | None":
    """For PEM files; None without them. Raises FailedPrecondition for what is none."""
    if not certificate and not key:
        return None
    import ssl  # two megabytes that most nodes need not have

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        made.load_cert_chain(certificate, key)
    except OSError as error:
        raise FailedPrecondition(
            f"gateway.streaming_certificate {certificate!r} and gateway.streaming_key {key!r} "
            f"are no certificate and its key in PEM: {error.strerror or error}"
        ) from error
    return made


def _upgradable(request: http.Request) -> bool:
    connection = [word.lower() for word in request.words("connection")]
    return "upgrade" in connection and request.first("upgrade").lower() in ("spdy/3.1", "websocket")


async def _spdy(request: http.Request, tcp: Tcp, door: Door) -> None:
    known = (port_forward.PROTOCOL,) if isinstance(door, Forward) else client.SPDY_PROTOCOLS
    offered = request.words("x-stream-protocol-version")
    # A client from before the negotiation names nothing, and speaks the first version.
    chosen = next((one for one in offered if one in known), "" if offered else known[-1])
    if not chosen:
        accepted = {"X-Accepted-Stream-Protocol-Versions": ", ".join(known)}
        why = f"none of the protocols {', '.join(offered)} is spoken here"
        await tcp.write(http.refusal(HTTPStatus.FORBIDDEN, why, accepted))
        return
    agreed = {"Upgrade": "SPDY/3.1"} | ({"X-Stream-Protocol-Version": chosen} if offered else {})
    await tcp.write(http.switching(agreed))
    await _multiplexed(tcp, door, chosen)


async def _multiplexed(pipe: Pipe, door: Door, protocol: str) -> None:
    """A door behind a SPDY connection."""
    connection = Connection(pipe)
    reading = asyncio.create_task(connection.run())
    try:
        if isinstance(door, Forward):
            await port_forward.forward(connection, door.connect, door.ports)
        else:
            await door.run(await client.over_spdy(connection, protocol, door.lanes))
        await connection.close()
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _websocket(request: http.Request, tcp: Tcp, door: Door) -> None:
    known = (_TUNNEL,) if isinstance(door, Forward) else client.WEBSOCKET_PROTOCOLS
    offered = request.words("sec-websocket-protocol")
    chosen = next((one for one in offered if one in known), "")
    key = request.first("sec-websocket-key")
    if not chosen or not _is_key(key) or request.first("sec-websocket-version") != "13":
        why = f"ask for WebSocket version 13 with one of the protocols {', '.join(known)}"
        await tcp.write(http.refusal(HTTPStatus.BAD_REQUEST, why, {"Sec-WebSocket-Version": "13"}))
        return
    agreed = {"Sec-WebSocket-Accept": websocket.accept(key), "Sec-WebSocket-Protocol": chosen}
    await tcp.write(http.switching({"Upgrade": "websocket", **agreed}))
    socket = WebSocket(tcp)
    if isinstance(door, Forward):
        await _multiplexed(Tunnel(socket), door, port_forward.PROTOCOL)
    else:
        await _channels(socket, door, chosen)
    await socket.close()


async def _channels(socket: WebSocket, door: Command, protocol: str) -> None:
    """A door behind a WebSocket whose messages name their lane."""
    channels = client.Channels(socket, protocol)
    reading = asyncio.create_task(channels.run())
    try:
        await channels.greet()
        await door.run(channels.client)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False
