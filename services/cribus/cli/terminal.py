"""This terminal (or whatever stands there: a pipe, a file) as the other end of a container's streams.

What the frames (bus/streams.py) carry is exact through a lost bus; when the shim itself
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
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from cribus.bus import far, lines, streams
from cribus.bus.service import Bus

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
        self._stdin = stdin
        self._outputs = output if output is not None else [streams.STDOUT] if tty else [streams.STDOUT, streams.STDERR]

    async def run(self, opened: Callable[[str], Awaitable[Any]]) -> int:
        """Let `opened` ask for the stream, and pass bytes both ways until the process exits: its exit code.

        Raises what the opening raises, and Unavailable when the shim is gone.
        """
        lines_ = lines.lines(self._bus.connection)
        async with far.opened(lines_, stdin=self._stdin, outputs=self._outputs) as stream:
            await opened(stream.id)
            stream.begin()
            with self._terminal(stream):
                return await self._joined(stream)

    @contextlib.contextmanager
    def _terminal(self, stream: far.Far) -> Iterator[None]:
        if not self._tty:
            yield
            return

        def resize() -> None:
            stream.resize(*window())

        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, resize)
        try:
            with raw():
                resize()
                yield
        finally:
            loop.remove_signal_handler(signal.SIGWINCH)

    async def _joined(self, stream: far.Far) -> int:
        """The exit code, once every byte is written; or the error of a task that could not go on."""
        outputs = [asyncio.create_task(_output(stream, channel)) for channel in self._outputs]
        inputs = [asyncio.create_task(_input(stream))] if self._stdin else []
        try:
            needed: set[asyncio.Future[Any]] = {stream.exit, *outputs}
            going = {*needed, *inputs}
            while not all(one.done() for one in needed):
                done, going = await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
                for one in done:
                    one.result()
            return stream.exit.result()[0]
        finally:
            for task in (*outputs, *inputs):
                task.cancel()
            await asyncio.gather(*outputs, *inputs, return_exceptions=True)


async def _output(stream: far.Far, channel: int) -> None:
    while data := await stream.read(channel):
        await asyncio.to_thread(_write_all, _FDS[channel], data)


async def _input(stream: far.Far) -> None:
    given: asyncio.Queue[bytes] = asyncio.Queue(maxsize=1)
    loop = asyncio.get_running_loop()
    threading.Thread(target=_read_stdin, args=(loop, given), daemon=True).start()
    while data := await given.get():
        await stream.write(data)
    stream.end()


def _read_stdin(loop: asyncio.AbstractEventLoop, given: "asyncio.Queue[bytes]") -> None:
    """A thread of its own: a read from a terminal or file has no other way not to block."""
    while True:
        try:
            data = os.read(0, streams.CHUNK)
        except OSError:
            data = b""
        try:
            asyncio.run_coroutine_threadsafe(given.put(data), loop).result()
        except (RuntimeError, concurrent.futures.CancelledError):
            return  # the loop has ended
        if not data:
            return


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
