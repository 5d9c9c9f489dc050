"""One WebSocket connection: messages for channels, or a pipe of bytes for the SPDY tunnel."""

import asyncio
import contextlib
from collections import deque

from cribus.gateway.streaming import websocket
from cribus.gateway.streaming.pipe import Pipe


class WebSocket:
    """`receive` answers pings by itself."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._decoder = websocket.Decoder()
        self._events: deque[websocket.Event] = deque()
        self._lock = asyncio.Lock()
        self.hung_up = pipe.hung_up

    async def receive(self) -> websocket.Data | None:
        """The next fragment; None when the client closed. Raises OSError or InvalidArgument."""
        while True:
            while self._events:
                event = self._events.popleft()
                if isinstance(event, websocket.Data):
                    return event
                if isinstance(event, websocket.Close):
                    return None
                await self._write(websocket.frame(websocket.PONG, event.data))
            data = await self._pipe.read()
            if not data:
                return None
            self._events.extend(self._decoder.feed(data))

    async def send(self, data: bytes, kind: int = websocket.BINARY) -> None:
        """One message, binary or text."""
        await self._write(websocket.frame(kind, data))

    async def close(self, code: int = websocket.NORMAL, reason: str = "") -> None:
        """Say good-bye, and let the client take what it has not read yet."""
        with contextlib.suppress(OSError):
            await self._write(websocket.closing(code, reason))

    async def _write(self, data: bytes) -> None:
        async with self._lock:
            await self._pipe.write(data)


class Tunnel:
    """The payloads of a WebSocket's messages as one stream of bytes."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self.hung_up = socket.hung_up

    async def read(self) -> bytes:
        while (piece := await self._socket.receive()) is not None:
            if piece.data:
                return piece.data
        return b""

    async def write(self, data: bytes) -> None:
        await self._socket.send(data)

    async def close(self) -> None:
        await self._socket.close()
