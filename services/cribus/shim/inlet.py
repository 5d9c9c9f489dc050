"""A client's bytes on their way to a process, exact through SIGKILL at any instruction.

    frames --write--> stage (a pipe) --splice--> the process's standard input, or its terminal

The keeper holds the stage. What is in it will reach the process, whoever moves it on; so the client is
told that its bytes were taken as they enter. How many those are is in the memo: before a write it
notes how full the stage is, and if it is killed then, how full it has become tells what the write did.
Until it is moved on a byte is nowhere else, and the kernel moves it in one step.
"""

import os
from collections import deque
from collections.abc import Callable

from cribus.linux import fds as descriptors
from cribus.shim import memo
from cribus.shim.loop import WRITE, Loop
from cribus.shim.memo import Memo

_MOST = 65536  # bytes that a stage holds


class Inlet:
    """`ends` are stage and target; `shut` closes them. `took(count)` is called as bytes enter, or are dropped
    because nobody reads any more; it is set by whoever writes."""

    def __init__(self, loop: Loop, notes: Memo, ends: tuple[int, int], shut: Callable[[], None]) -> None:
        self.took: Callable[[int], None] = lambda count: None
        self._loop = loop
        self._notes = notes
        self._stage, self._target = ends
        self._shut = shut
        self._queue: deque[memoryview] = deque()
        self._ending: Callable[[], None] | None = None
        os.set_blocking(self._target, False)

    def recover(self) -> int:
        """Finish what an earlier shim was killed in: how many bytes have ever entered. To be called once, first."""
        before = self._notes[memo.MOVING]
        if before:
            came = descriptors.level(self._stage) - self._notes[memo.MOVING_LEVEL]
            self._notes[memo.ENTERED] = before - 1 + came
            self._notes[memo.MOVING] = 0
        return self._notes[memo.ENTERED]

    def write(self, data: bytes) -> None:
        """Pass these on, after what came before. Whoever writes should not run far ahead of `took`."""
        if self._target < 0:
            self._drop(len(data))
            return
        self._queue.append(memoryview(data))
        self.go()

    def end(self, closed: Callable[[], None]) -> None:
        """Close after what has come; `closed` then."""
        if self._target < 0:
            closed()
            return
        self._ending = closed
        self.go()

    def go(self, _: int = 0) -> None:
        """Move what can be moved."""
        while self._target >= 0 and (self._fill() or descriptors.level(self._stage)):
            if not self._flush():
                return
        self._loop.forget(self._target)
        if self._ending is not None:
            self.close()

    def _fill(self) -> bool:
        """One piece into the stage, if it takes any."""
        if not self._queue:
            return False
        level = descriptors.level(self._stage)
        entered = self._notes[memo.ENTERED]
        self._notes[memo.MOVING_LEVEL] = level
        self._notes[memo.MOVING] = entered + 1
        try:
            count = os.write(self._stage, self._queue[0])
        except BlockingIOError:
            count = 0
        self._notes[memo.ENTERED] = entered + count
        self._notes[memo.MOVING] = 0
        if not count:
            return False
        self._queue[0] = self._queue[0][count:]
        if not self._queue[0]:
            self._queue.popleft()
        self.took(count)
        return True

    def _flush(self) -> bool:
        """From the stage to the process; False when it takes no more now, or never will."""
        try:
            return os.splice(self._stage, self._target, _MOST, flags=2) > 0
        except BlockingIOError:
            self._loop.watch(self._target, WRITE, self.go)
        except OSError:  # EPIPE, EIO: the reader closed it; what is sent to it goes nowhere
            self.close()
        return False

    def _drop(self, count: int) -> None:
        self._notes[memo.ENTERED] += count
        self.took(count)

    def close(self) -> None:
        """Now. Idempotent."""
        if self._target < 0:
            return
        self._loop.forget(self._target)
        self._target = -1
        self._shut()
        queue, self._queue = self._queue, deque()
        for data in queue:
            self._drop(len(data))
        if self._ending is not None:
            ending, self._ending = self._ending, None
            ending()
