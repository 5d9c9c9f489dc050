"""Reading container logs: `<time> <stdout|stderr> <F|P> <text>` a line, as the kubelet has them.

P marks a piece of a longer line: it is printed without a line end.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple, Self

from cribus.linux import inotify

_CHUNK = 1 << 18


class Entry(NamedTuple):
    time: bytes
    stream: bytes  # b"stdout" or b"stderr"
    text: bytes  # with its line end, if it has one


def entries(data: bytes) -> tuple[list[Entry], bytes]:
    """The whole entries of `data`, and what is left of a last, unfinished one."""
    *lines, rest = data.split(b"\n")
    return [_entry(line) for line in lines], rest


def _entry(line: bytes) -> Entry:
    parts = line.split(b" ", 3)
    if len(parts) < 4:  # not ours; show it as it is
        return Entry(b"", b"stdout", line + b"\n")
    time, stream, tags, text = parts
    return Entry(time, stream, text if tags.startswith(b"P") else text + b"\n")


class Log:
    """One container's log, from its beginning on, through rotation. A missing file is an empty log."""

    def __init__(self, path: str, *, times: bool = False) -> None:
        self.times = times
        self._path = path
        self._file = -1
        self._rest = b""
        self._watch = inotify.init()
        mask = inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO
        inotify.add_watch(self._watch, os.path.dirname(path), mask)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        os.close(self._watch)
        if self._file >= 0:
            os.close(self._file)

    def read(self) -> Iterator[Entry]:
        """What was added since the last call."""
        while True:
            data = os.read(self._file, _CHUNK) if self._file >= 0 else b""
            if data:
                found, self._rest = entries(self._rest + data)
                yield from found
            elif not self._reopened():
                return

    def show(self) -> None:
        """Print what was added since the last call."""
        write(self.read(), times=self.times)

    def _reopened(self) -> bool:
        """Go on with the next file, if there is one: the log was rotated, or begins."""
        try:
            fresh = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        if self._file >= 0 and os.path.samestat(os.fstat(fresh), os.fstat(self._file)):
            os.close(fresh)
            return False
        if self._file >= 0:
            os.close(self._file)
        self._file, self._rest = fresh, b""
        return True

    async def changed(self) -> None:
        """Wait until something was written since the last call."""
        loop = asyncio.get_running_loop()
        news = asyncio.Event()
        loop.add_reader(self._watch, news.set)
        try:
            await news.wait()
        finally:
            loop.remove_reader(self._watch)
        inotify.read(self._watch)


def write(found: Iterator[Entry] | list[Entry], *, times: bool = False) -> None:
    """Print entries, each on the stream that it came from."""
    for entry in found:
        to = sys.stderr if entry.stream == b"stderr" else sys.stdout
        to.buffer.write(entry.time + b" " + entry.text if times else entry.text)
    sys.stdout.flush()
    sys.stderr.flush()
