"""A shim's side of a stream, for exec and attach tests: what comes in on stdin goes out again in upper case."""

import asyncio
from collections.abc import Callable
from typing import Any

from cribus.api.shim import StreamOpened
from cribus.bus import streams, subjects
from cribus.bus.service import Bus


class Echo:
    """Serves one stream; ends with `code` when standard input ends, or at once when there is none."""

    def __init__(self, bus: Callable[[], Bus], code: int) -> None:
        self._bus = bus
        self._code = code
        self.sizes: list[tuple[int, int]] = []
        self.asked: list[Any] = []
        self._waiting = bytearray()
        self._last = False
        self._frames: asyncio.Queue[bytes] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()

    async def opened(self, request: Any) -> StreamOpened:
        self.asked.append(request)
        bus = self._bus()
        outgoing = [streams.STDOUT] + ([streams.STDERR] if request.stderr else [])
        self._stream = streams.Stream(self._frames.put_nowait, outgoing, [streams.STDIN])
        node = bus.node
        await bus.connection.nats.subscribe(subjects.stream(node, request.stream, "s"), cb=self._on_frame)
        self._tasks.add(asyncio.create_task(self._pump(subjects.stream(node, request.stream, "c"))))
        if not request.stdin:
            self._begin()
        return StreamOpened()

    def _echo(self) -> None:
        """Write what the window takes; only that counts as read."""
        taken = self._stream.outgoing[streams.STDOUT].write(bytes(self._waiting))
        self._last = self._last or b"\x04" in self._waiting[:taken]
        del self._waiting[:taken]
        if taken:
            self._stream.incoming[streams.STDIN].done(taken)
        if self._last and not self._waiting:
            self._end()

    def _begin(self) -> None:
        if streams.STDERR in self._stream.outgoing:
            self._stream.outgoing[streams.STDERR].write(b"to stderr\n")
        self._end()

    def _end(self) -> None:
        for sender in self._stream.outgoing.values():
            sender.end()
        self._stream.exit(self._code)

    async def _on_frame(self, msg: Any) -> None:
        what = self._stream.feed(msg.data)
        if what[0] == "data":
            self._waiting += what[2].upper()
        elif what[0] == "end":
            self._last = True
        if what[0] in ("data", "acked", "end"):
            self._echo()
        elif what[0] == "resize":
            self.sizes.append((what[1], what[2]))

    async def _pump(self, subject: str) -> None:
        while True:
            await self._bus().connection.send(subject, await self._frames.get())
