"""Output that outlives the shim: a file in memory that the keeper holds, every byte at its own offset.

The kernel moves bytes from a process's pipe into it in one step (splice), and the file's size says how
many there were: at whatever instruction the shim is killed, none is lost or doubled. What its reader
has acknowledged is given back to the system, so that it is never larger in memory than the window.
"""

import os

from cribus.linux import files

_WORTH = 65536  # bytes that must be free before they are given back
_PAGE = 4096


class Kept:
    """bus/streams.py, `Kept`. The descriptor stays the caller's. `limit` is the most it takes, 0 for any."""

    def __init__(self, fd: int, limit: int = 0) -> None:
        self.size = os.fstat(fd).st_size
        self._fd = fd
        self._limit = limit
        self._begin = 0

    def room(self) -> int:
        """How much it still takes, at most a pipe's worth."""
        return max(0, min(65536, self._limit - self.size)) if self._limit else 65536

    def append(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            count = os.pwrite(self._fd, view, self.size)
            self.size += count
            view = view[count:]

    def splice(self, source: int, count: int) -> int:
        """Take at most so many bytes off a pipe; 0 at its end. Raises BlockingIOError when there are none."""
        moved = os.splice(source, self._fd, count, offset_dst=self.size, flags=2)
        self.size += moved
        return moved

    def read(self, at: int, count: int) -> bytes:
        return os.pread(self._fd, count, at)

    def drop(self, before: int) -> None:
        end = before - before % _PAGE
        if end - self._begin >= _WORTH:
            files.punch_hole(self._fd, self._begin, end - self._begin)
            self._begin = end


def new() -> int:
    """A descriptor of an empty one."""
    return os.memfd_create("kept", os.MFD_CLOEXEC)
