"""Bytes for a descriptor that may not take them at once: a process's standard input."""

import os
from collections import deque
from collections.abc import Callable

from cribus.shim.loop import WRITE, Loop


class Writer:
    """Owns `fd`. Whoever writes is told how much was taken, and should not run far ahead of it."""

    def __init__(self, loop: Loop, fd: int) -> None:
        self._loop = loop
        self._fd = fd
        self._queue: deque[tuple[memoryview, Callable[[int], None]]] = deque()
        self._ending: Callable[[], None] | None = None
        os.set_blocking(fd, False)

    @property
    def open(self) -> bool:
        return self._fd >= 0

    def write(self, data: bytes, took: Callable[[int], None]) -> None:
        """Write in order; `took(count)` as bytes leave, or are dropped because nobody reads any more."""
        if self._fd < 0:
            took(len(data))
            return
        self._queue.append((memoryview(data), took))
        if len(self._queue) == 1:
            self._go()

    def end(self, closed: Callable[[], None]) -> None:
        """Close after what is queued; `closed` then."""
        self._ending = closed
        if not self._queue:
            self.close()

    def _go(self, _: int = 0) -> None:
        while self._queue:
            data, took = self._queue[0]
            try:
                count = os.write(self._fd, data)
            except BlockingIOError:
                self._loop.watch(self._fd, WRITE, self._go)
                return
            except OSError:  # EPIPE, EIO: the reader closed it; what is sent to it goes nowhere
                self.close()
                return
            if count < len(data):
                self._queue[0] = (data[count:], took)
            else:
                self._queue.popleft()
            took(count)
        if self._fd >= 0:
            self._loop.forget(self._fd)
        if self._ending is not None:
            self.close()

    def close(self) -> None:
        """Now. Idempotent."""
        if self._fd < 0:
            return
        self._loop.forget(self._fd)
        os.close(self._fd)
        self._fd = -1
        queue, self._queue = self._queue, deque()
        for data, took in queue:
            took(len(data))
        if self._ending is not None:
            ending, self._ending = self._ending, None
            ending()
