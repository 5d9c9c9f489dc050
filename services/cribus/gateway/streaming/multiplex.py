"""One SPDY connection with its streams, over any pipe: what `spdy` means, turned into reads and writes."""

import asyncio
import contextlib

from cribus.errors import InvalidArgument
from cribus.gateway.streaming import spdy
from cribus.gateway.streaming.pipe import Buffer, Pipe

_MOST = 1024  # streams at once
_CLOSED = "the client closed the connection"


class Stream:
    """One stream that the client opened."""

    def __init__(self, connection: "Connection", number: int, headers: dict[str, str]) -> None:
        self.number = number
        self.headers = headers
        self.buffer = Buffer()
        self.was_reset = asyncio.Event()
        self.ended_here = False
        self.ended_there = False
        self._connection = connection
        self._taken = 0

    async def read(self) -> bytes:
        """The next bytes, b"" at the end. Raises ConnectionError when the stream was reset."""
        await self._connection.used(self.number, self._taken)
        data = await self.buffer.get()
        self._taken = len(data)
        return data

    async def write(self, data: bytes) -> None:
        """Send bytes, waiting for the client to take them. Raises ConnectionError when it cannot."""
        await self._connection.send(self, data)

    async def close(self) -> None:
        """Send nothing more. Idempotent."""
        if not self.ended_here and not self.was_reset.is_set():
            self.ended_here = True
            await self._connection.end(self)

    async def reset(self, status: int = spdy.CANCEL) -> None:
        """Give up both directions. Idempotent."""
        if not self.was_reset.is_set():
            self.was_reset.set()
            self.buffer.fail("the stream was given up")
            await self._connection.reset(self, status)


class Connection:
    """Run `run` as a task; new streams come from `accept`."""

    def __init__(self, pipe: Pipe) -> None:
        self.gone = asyncio.Event()
        self._pipe = pipe
        self._session = spdy.Session()
        self._streams: dict[int, Stream] = {}
        self._new: asyncio.Queue[Stream | None] = asyncio.Queue()
        self._lock = asyncio.Lock()
        self._credit = asyncio.Event()
        self._last = 0

    async def run(self) -> None:
        """Read until the client closes, or breaks the protocol."""
        try:
            while data := await self._pipe.read():
                for event in self._session.feed(data):
                    await self._on(event)
                await self._flush()
        except (OSError, InvalidArgument) as error:
            self._lost(f"the client's connection broke: {error}")
        finally:
            self._lost(_CLOSED)

    def _lost(self, why: str) -> None:
        for stream in self._streams.values():
            if not stream.ended_there:
                stream.buffer.fail(why)
            stream.was_reset.set()
        self._streams.clear()
        self.gone.set()
        self._credit.set()
        self._new.put_nowait(None)

    async def _on(self, event: spdy.Event) -> None:
        if isinstance(event, spdy.Data):
            await self._on_data(event)
        elif isinstance(event, spdy.Opened):
            self._on_opened(event)
        elif isinstance(event, spdy.Reset):
            self._on_reset(event.stream)
        elif isinstance(event, spdy.Credit):
            self._credit.set()

    def _on_opened(self, event: spdy.Opened) -> None:
        if event.stream <= self._last or event.stream % 2 == 0:
            self._session.reset(event.stream, spdy.PROTOCOL_ERROR)
            return
        self._last = event.stream
        if len(self._streams) >= _MOST:
            self._session.reset(event.stream, spdy.REFUSED_STREAM)
            return
        stream = self._streams[event.stream] = Stream(self, event.stream, event.headers)
        self._session.reply(event.stream)
        if event.ended:
            stream.ended_there = True
            stream.buffer.end()
        self._new.put_nowait(stream)

    async def _on_data(self, event: spdy.Data) -> None:
        stream = self._streams.get(event.stream)
        if stream is None:
            return  # of a stream that we gave up: the client does not know yet
        stream.buffer.put(event.data)
        if event.ended:
            stream.ended_there = True
            stream.buffer.end()
            self._forget_if_over(stream)
        else:
            await self._flush()
            await stream.buffer.room(self._pipe.hung_up)

    def _on_reset(self, number: int) -> None:
        stream = self._streams.pop(number, None)
        self._session.forget(number)
        if stream is not None:
            stream.was_reset.set()
            stream.buffer.fail("the client gave the stream up")
            self._credit.set()

    def _forget_if_over(self, stream: Stream) -> None:
        if stream.ended_here and stream.ended_there:
            self._streams.pop(stream.number, None)
            self._session.forget(stream.number)

    async def accept(self) -> Stream | None:
        """The next stream that the client opens; None when there will be none."""
        return await self._new.get()

    async def used(self, number: int, count: int) -> None:
        if count and number in self._streams:
            self._session.used(number, count)
            await self._flush()

    async def send(self, stream: Stream, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if stream.was_reset.is_set():
                raise ConnectionError(_CLOSED)
            room = self._session.room(stream.number)
            if not room:
                self._credit.clear()
                await self._credit.wait()
                continue
            self._session.data(stream.number, view[:room])
            view = view[room:]
            await self._flush()

    async def end(self, stream: Stream) -> None:
        self._session.data(stream.number, b"", fin=True)
        self._forget_if_over(stream)
        await self._flush()

    async def reset(self, stream: Stream, status: int) -> None:
        if self._streams.pop(stream.number, None) is not None:
            self._session.reset(stream.number, status)
            await self._flush()

    async def _flush(self) -> None:
        async with self._lock:
            data = self._session.take()
            if data:
                await self._pipe.write(data)

    async def close(self) -> None:
        """Say that this was all, and let the client take it."""
        with contextlib.suppress(OSError):
            self._session.goaway(self._last)
            await self._flush()
