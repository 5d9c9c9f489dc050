"""This terminal (or whatever stands there: a pipe, a file) as the other end of a container's streams.

The frames are bus/streams.py's. What they carry is exact through a lost bus; when the shim itself
is gone, nobody listens to the stream any more, and that ends it.
"""

import asyncio
import concurrent.futures
import contextlib
import fcntl
import os
import signal
import struct
import sys
import termios
import threading
import tty
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from cribus.bus import streams, subjects
from cribus.bus.codec import pack
from cribus.bus.connection import pause
from cribus.bus.service import Bus
from cribus.errors import Unavailable

_HEARTBEAT = 1.0  # seconds between two looks whether anybody listens
_SILENT = 3  # such looks in a row that find nobody
_FDS = {streams.STDOUT: 1, streams.STDERR: 2}


@contextlib.contextmanager
def raw() -> Iterator[None]:
    """Keys go to the container as they are pressed, Ctrl-C too."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def window() -> tuple[int, int]:
    """Width and height of the terminal in characters."""
    try:
        height, width, _, _ = struct.unpack("4H", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))
    except OSError:
        return 80, 24
    return width, height


class Session:
    """One stream from its opening to the process's exit."""

    def __init__(self, bus: Bus, *, stdin: bool, tty: bool, output: list[int] | None = None) -> None:
        self._bus = bus
        self._tty = tty
        self.id = uuid.uuid4().hex
        incoming = output if output is not None else [streams.STDOUT] if tty else [streams.STDOUT, streams.STDERR]
        self._frames: asyncio.Queue[bytes] = asyncio.Queue()
        self._stream = streams.Stream(self._frames.put_nowait, [streams.STDIN] if stdin else [], incoming)
        self._output: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self._input: asyncio.Queue[bytes] = asyncio.Queue(maxsize=1)
        self._room = asyncio.Event()
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._code: int | None = None
        self._silent = 0

    async def run(self, opened: Callable[[str], Awaitable[Any]]) -> int:
        """Let `opened` ask for the stream, and pass bytes both ways until the process exits: its exit code.

        Raises what the opening raises, and Unavailable when the shim is gone.
        """
        connection = self._bus.connection
        subject = subjects.stream(self._bus.node, self.id, "c")
        subscription = await connection.nats.subscribe(
            subject, cb=self._on_frame, pending_msgs_limit=-1, pending_bytes_limit=-1
        )
        connection.on_reconnect.append(self._stream.reconnected)
        connection.answers[self.id] = self._on_silence
        tasks: list[asyncio.Task[None]] = []
        try:
            await opened(self.id)
            with self._terminal():
                tasks += [asyncio.create_task(work) for work in self._work()]
                return await self._ended(tasks)
        finally:
            for task in tasks:
                task.cancel()
            connection.on_reconnect.remove(self._stream.reconnected)
            del connection.answers[self.id]
            await connection.send(subjects.stream(self._bus.node, self.id, "s"), pack(["q"]))
            await subscription.unsubscribe()

    @contextlib.contextmanager
    def _terminal(self) -> Iterator[None]:
        if not self._tty:
            yield
            return
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, self._resize)
        try:
            with raw():
                self._resize()
                yield
        finally:
            loop.remove_signal_handler(signal.SIGWINCH)

    def _resize(self) -> None:
        self._stream.resize(*window())

    def _work(self) -> list[Any]:
        work = [self._send_frames(), self._write_output(), self._listen()]
        if self._stream.outgoing:
            threading.Thread(target=self._read_stdin, args=(asyncio.get_running_loop(),), daemon=True).start()
            work.append(self._send_input())
        return work

    async def _ended(self, tasks: list[asyncio.Task[None]]) -> int:
        """The exit code, once every byte is written; or the error of a task that could not go on."""
        going: set[asyncio.Future[Any]] = {self._exit, *tasks}
        while not self._exit.done():
            done, going = await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        return self._exit.result()

    async def _on_frame(self, msg: Any) -> None:
        self._silent = 0
        what = self._stream.feed(msg.data)
        if what[0] == "data":
            self._output.put_nowait((what[1], what[2]))
        elif what[0] == "acked":
            self._room.set()
        elif what[0] == "exit":
            self._code = int(what[1])
        if self._code is not None and all(one.at_end() for one in self._stream.incoming.values()):
            self._output.put_nowait((-1, b""))

    def _on_silence(self, msg: Any) -> None:
        self._silent += 1

    async def _listen(self) -> None:
        """Raises Unavailable when nobody takes this stream's frames any more."""
        subject = subjects.stream(self._bus.node, self.id, "s")
        while self._silent < _SILENT:
            await pause(_HEARTBEAT)
            # a frame that means nothing; without a listener the bus answers "no responders"
            await self._bus.connection.send(subject, pack(["n"]), self._bus.connection.reply_to(self.id))
        raise Unavailable("the pod's shim was replaced and its streams are cut; the process may still run")

    async def _send_frames(self) -> None:
        subject = subjects.stream(self._bus.node, self.id, "s")
        while True:
            await self._bus.connection.send(subject, await self._frames.get())

    async def _write_output(self) -> None:
        while True:
            channel, data = await self._output.get()
            if channel < 0:
                if not self._exit.done():
                    self._exit.set_result(self._code or 0)
                continue
            await asyncio.to_thread(_write_all, _FDS[channel], data)
            self._stream.incoming[channel].done(len(data))

    def _read_stdin(self, loop: asyncio.AbstractEventLoop) -> None:
        """A thread of its own: a read from a terminal or file has no other way not to block."""
        while True:
            try:
                data = os.read(0, streams.CHUNK)
            except OSError:
                data = b""
            try:
                asyncio.run_coroutine_threadsafe(self._input.put(data), loop).result()
            except (RuntimeError, concurrent.futures.CancelledError):
                return  # the loop has ended
            if not data:
                return

    async def _send_input(self) -> None:
        sender = self._stream.outgoing[streams.STDIN]
        while data := memoryview(await self._input.get()):
            while data:
                self._room.clear()
                data = data[sender.write(data) :]
                if data:
                    await self._room.wait()
        sender.end()


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
