"""Who runs a remote command: the lanes of one exec or attach, whatever carries them.

Over SPDY every lane is a stream, named by its header `streamtype`; over WebSocket the first byte of
a message names its lane: 0 stdin, 1 stdout, 2 stderr, 3 error, 4 resize, and in v5 255 with a lane's
number says that the client sends no more on that lane. Browsers that want text have it in base64, the
lane's number before it as a digit.
"""

import asyncio
import base64
import binascii
from collections.abc import Collection
from typing import NamedTuple, Protocol

from cribus.errors import InvalidArgument
from cribus.gateway.streaming import multiplex, websocket
from cribus.gateway.streaming.pipe import Buffer
from cribus.gateway.streaming.websocket_pipe import WebSocket

STDIN, STDOUT, STDERR, ERROR, RESIZE = "stdin", "stdout", "stderr", "error", "resize"
SPDY_PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
_BASE64 = ("v4.base64.channel.k8s.io", "base64.channel.k8s.io")
WEBSOCKET_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io", *_BASE64)
_LONGEST = 4 << 20  # bytes of a message in base64, which is understood as a whole
_NUMBERS = {STDIN: 0, STDOUT: 1, STDERR: 2, ERROR: 3, RESIZE: 4}
_CLOSE = 255
_PATIENCE = 30.0  # seconds in which a client must have opened its streams


def version(protocol: str) -> int:
    """4 of `v4.channel.k8s.io`; the name without a number is 1."""
    return int(protocol[1]) if protocol.startswith("v") else 1


class Lane(Protocol):
    async def read(self) -> bytes: ...
    async def write(self, data: bytes) -> None: ...
    async def close(self) -> None: ...


class Client(NamedTuple):
    """`gone` is set when the client's connection is lost or closed."""

    version: int
    lanes: dict[str, Lane]
    gone: asyncio.Event


async def over_spdy(connection: multiplex.Connection, protocol: str, wanted: Collection[str]) -> Client:
    """Wait for the client's streams. Raises InvalidArgument when they do not come."""
    number = version(protocol)
    missing = {ERROR, *wanted} - ({RESIZE} if number < 3 else set())
    lanes: dict[str, Lane] = {}
    try:
        async with asyncio.timeout(_PATIENCE):
            while missing:
                stream = await connection.accept()
                if stream is None:
                    raise InvalidArgument("the client left before it had opened its streams")
                name = stream.headers.get("streamtype", "")
                if name in missing:
                    missing.discard(name)
                    lanes[name] = stream
                else:
                    await stream.reset()
    except TimeoutError as error:
        raise InvalidArgument(f"the client did not open {', '.join(sorted(missing))}") from error
    return Client(number, lanes, connection.gone)


class Channels:
    """The lanes of one WebSocket. Run `run` as a task."""

    def __init__(self, socket: WebSocket, protocol: str) -> None:
        self._socket = socket
        self._text = protocol in _BASE64
        self._inputs = {_NUMBERS[name]: Buffer() for name in (STDIN, RESIZE)}
        lanes: dict[str, Lane] = {name: _Channel(self, number) for name, number in _NUMBERS.items()}
        self.client = Client(version(protocol), lanes, asyncio.Event())

    async def run(self) -> None:
        """Sort the client's messages into their lanes until it closes."""
        why = ""
        try:
            await (self._texts() if self._text else self._pieces())
        except (OSError, InvalidArgument) as error:
            why = f"the client's connection broke: {error}"
        finally:
            for buffer in self._inputs.values():
                buffer.fail(why) if why else buffer.end()
            self.client.gone.set()

    async def _pieces(self) -> None:
        channel = -1
        while (piece := await self._socket.receive()) is not None:
            data = piece.data
            if piece.first and data:
                channel, data = data[0], data[1:]
            await self._sort(channel, data)

    async def _texts(self) -> None:
        message = b""
        while (piece := await self._socket.receive()) is not None:
            message = (b"" if piece.first else message) + piece.data
            if len(message) > _LONGEST:
                raise InvalidArgument(f"a message in base64 has more than {_LONGEST} bytes")
            if piece.last and message:
                try:
                    await self._sort(message[0] - ord("0"), base64.b64decode(message[1:], validate=True))
                except binascii.Error as error:
                    raise InvalidArgument(f"a message is not in base64: {error}") from error

    def read(self, number: int) -> Buffer | None:
        """What the client says on a lane; None for a lane on which it has nothing to say."""
        return self._inputs.get(number)

    async def write(self, number: int, data: bytes) -> None:
        if self._text:
            await self._socket.send(b"%d" % number + base64.b64encode(data), websocket.TEXT)
        else:
            await self._socket.send(bytes([number]) + data)

    async def greet(self) -> None:
        """An empty message on stdout: clients take it as the sign that the stream is up."""
        await self.write(_NUMBERS[STDOUT], b"")

    async def _sort(self, channel: int, data: bytes) -> None:
        if channel == _CLOSE and data and data[0] in self._inputs:
            self._inputs[data[0]].end()
        buffer = self._inputs.get(channel)
        if buffer is not None:
            buffer.put(data)
            await buffer.room(self._socket.hung_up)


class _Channel:
    """One lane; a half-close towards the client does not exist here: the connection's end is all ends."""

    def __init__(self, channels: Channels, number: int) -> None:
        self._channels = channels
        self._number = number

    async def read(self) -> bytes:
        said = self._channels.read(self._number)
        return await said.get() if said is not None else b""

    async def write(self, data: bytes) -> None:
        await self._channels.write(self._number, data)

    async def close(self) -> None:
        pass
