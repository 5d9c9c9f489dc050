"""The far side of an exec or attach: a process in a container, reached through the bus's frames.

What the frames mean is `streams`; here they become reads and writes that wait, for the gateway and
the command line alike. Their way over the bus is `lines`: tests pass one that ends in the test.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from cribus.bus import streams
from cribus.errors import CribusError, Unavailable

_PROBE = 2.0  # seconds between looks whether anybody serves the stream
_MISSES = 3  # looks in vain in a row that mean that its shim is gone


class Line(Protocol):
    """One stream's way over the bus."""

    async def send(self, frame: bytes) -> None: ...
    async def listened(self) -> bool:
        """Somebody takes the frames that we send, as far as one can know while the bus is away."""
        ...


Open = Callable[[str, Callable[[bytes], None], Callable[[], None]], AbstractAsyncContextManager[Line]]


class Far:
    """One process's streams. `exit` gets its exit code, or Unavailable when its shim is gone."""

    def __init__(self, *, stdin: bool, outputs: list[int]) -> None:
        self.id = uuid.uuid4().hex
        self.takes_input = stdin
        self.outputs = outputs
        self._frames: asyncio.Queue[bytes] = asyncio.Queue()
        self._stream = streams.Stream(self._frames.put_nowait, [streams.STDIN] if stdin else [], outputs)
        self._outputs: dict[int, asyncio.Queue[bytes]] = {channel: asyncio.Queue() for channel in outputs}
        self._open = set(outputs)
        self._taken = dict.fromkeys(outputs, 0)
        self._room = asyncio.Event()
        self._begun = asyncio.Event()
        self.exit: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    def begin(self) -> None:
        """A shim has said that it serves the stream: from now on it must be there."""
        self._begun.set()

    def on_frame(self, frame: bytes) -> None:
        what = self._stream.feed(frame)
        if what[0] == "data":
            self._outputs[what[1]].put_nowait(what[2])
        elif what[0] == "acked":
            self._room.set()
        elif what[0] == "exit" and not self.exit.done():
            self.exit.set_result((int(what[1]), str(what[2])))
        for channel, receiver in self._stream.incoming.items():
            if channel in self._open and receiver.at_end():
                self._open.discard(channel)
                self._outputs[channel].put_nowait(b"")

    def on_reconnect(self) -> None:
        self._stream.reconnected()

    async def read(self, channel: int) -> bytes:
        """The next output, b"" at its end, once; what was read before counts as used up now."""
        if self._taken[channel]:
            self._stream.incoming[channel].done(self._taken[channel])
        data = await self._outputs[channel].get()
        self._taken[channel] = len(data)
        return data

    async def write(self, data: bytes) -> None:
        """Input for the process; waits while it takes none."""
        sender, view = self._stream.outgoing[streams.STDIN], memoryview(data)
        while view:
            self._room.clear()
            view = view[sender.write(view) :]
            if view:
                await self._room.wait()

    def end(self) -> None:
        """No more input."""
        self._stream.outgoing[streams.STDIN].end()

    def resize(self, width: int, height: int) -> None:
        self._stream.resize(width, height)

    async def serve(self, line: Line) -> None:
        """Send what gathers, and watch that somebody takes it. Runs as a task."""
        watch = asyncio.create_task(self._watch(line))
        try:
            while True:
                await line.send(await self._frames.get())
        finally:
            watch.cancel()

    async def _watch(self, line: Line) -> None:
        await self._begun.wait()
        misses = 0
        while misses < _MISSES and not self.exit.done():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PROBE):
                    await asyncio.shield(self.exit)
            misses = 0 if await line.listened() else misses + 1
        self._lose(Unavailable("the pod's shim was replaced and its streams are cut; the process may still run"))

    def _lose(self, error: CribusError) -> None:
        if not self.exit.done():
            self.exit.set_exception(error)
            self.exit.exception()  # taken: nobody may be waiting any more

    async def leave(self, line: Line) -> None:
        """Send what is left, and say that we go."""
        self._stream.leave()
        while not self._frames.empty():
            await line.send(self._frames.get_nowait())


@contextlib.asynccontextmanager
async def opened(lines: Open, *, stdin: bool, outputs: list[int]) -> AsyncIterator[Far]:
    """A stream that listens on the bus; nobody serves it until a verb names its id to a shim."""
    far = Far(stdin=stdin, outputs=outputs)
    async with lines(far.id, far.on_frame, far.on_reconnect) as line:
        task = asyncio.create_task(far.serve(line))
        try:
            yield far
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if not far.exit.done():
                far.exit.cancel()
            await far.leave(line)
