"""Bytes both ways between us and one client: the TCP connection, and a bounded buffer for its parts."""

import asyncio
import contextlib
import select
from collections import deque
from collections.abc import Callable
from typing import Protocol

LIMIT = 256 << 10  # bytes that a buffer holds before its writer has to wait
_READ = 64 << 10
_LINGER = 5.0  # seconds for which a client may take what is left after our last word
_LOOK = 5.0  # seconds between looks whether a client is still there, while we read nothing of it


class Pipe(Protocol):
    """`read` answers b"" at the end. Both raise OSError when the connection is lost."""

    async def read(self) -> bytes: ...
    async def write(self, data: bytes) -> None: ...
    async def close(self) -> None: ...
    def hung_up(self) -> bool: ...


class Tcp:
    """An accepted connection; `rest` was read from it already."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rest: bytes = b"") -> None:
        self._reader = reader
        self._writer = writer
        self._rest = rest

    async def read(self) -> bytes:
        if self._rest:
            rest, self._rest = self._rest, b""
            return rest
        return await self._reader.read(_READ)

    async def write(self, data: bytes) -> None:
        """Whole or not at all, as seen from other tasks: the bytes are queued before the first wait."""
        self._writer.write(data)
        await self._writer.drain()

    def hung_up(self) -> bool:
        """The client closed its end, even if bytes of it wait unread."""
        transport = self._writer.get_extra_info("socket")
        if transport is None or transport.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(transport.fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))

    async def close(self) -> None:
        """Close in order: what the client has not read yet must not be thrown away by a reset."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_LINGER):
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                while await self._reader.read(_READ):
                    pass
        self.abort()

    def abort(self) -> None:
        self._writer.close()


class Buffer:
    """Bytes of one stream that its reader has not taken yet."""

    def __init__(self) -> None:
        self._blocks: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._broken = ""
        self._changed = asyncio.Event()

    def put(self, data: bytes) -> None:
        """Add bytes; they are dropped once the buffer has ended."""
        if data and not self._ended:
            self._blocks.append(data)
            self._size += len(data)
            self._changed.set()

    def end(self) -> None:
        """Nothing follows. Idempotent."""
        self._ended = True
        self._changed.set()

    def fail(self, why: str) -> None:
        """Nothing follows, and what is there is worth nothing: the reader gets ConnectionError."""
        self._broken = self._broken or why
        self._blocks.clear()
        self._size = 0
        self.end()

    async def get(self) -> bytes:
        """The next bytes, b"" at the end. Raises ConnectionError after `fail`."""
        while not self._blocks:
            if self._broken:
                raise ConnectionError(self._broken)
            if self._ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        block = self._blocks.popleft()
        self._size -= len(block)
        self._changed.set()
        return block

    async def room(self, hung_up: Callable[[], bool]) -> None:
        """Until the buffer takes more. Raises ConnectionError when the client left meanwhile: what
        it sent last cannot tell us, for we do not read while there is no room."""
        while self._size >= LIMIT and not self._ended:
            self._changed.clear()
            try:
                async with asyncio.timeout(_LOOK):
                    await self._changed.wait()
            except TimeoutError:
                if hung_up():
                    raise ConnectionError("the client went away") from None
