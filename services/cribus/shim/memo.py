"""What one session must know to go on after its shim was killed: a page of memory that the keeper holds.

It begins with numbers of eight bytes, each stored in one step; behind them stands, never changed, what
was asked. Numbers that belong together have two slots, and one number says which of them counts.
"""

import mmap
import os

ASKED, FETCHED, RUNS, LEFT = range(4)  # values of PHASE
PHASE = 0  # of the process: asked for; its descriptors were fetched; it runs; it runs on without a client
DEADLINE = 1  # ns of the monotonic clock, 0 for none
EXEC_ID = 2  # under which the executor was asked, two numbers
ENTERED = 4  # bytes of input that are beyond the client's concern
MOVING, MOVING_LEVEL = 5, 6  # ENTERED before the write under way, plus one; and how full the stage was
PID, STARTED = 7, 8  # of the process: a name that is not used again
ACKED = {1: 16, 2: 32}  # by channel: what the client has acknowledged, …
BASE = {1: 17, 2: 33}  # … where in the container's output the session begins, …
BEHIND = {1: 18, 2: 34}  # … and which of the two places that follow says where in the log it reads, 0 if live
_PLACE = 3  # numbers of a place
_TEXT = 512


class Memo:
    """The descriptor stays the caller's."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, os.fstat(fd).st_size)
        self._numbers = memoryview(self._map)[:_TEXT].cast("Q")

    def __getitem__(self, index: int) -> int:
        return self._numbers[index]

    def __setitem__(self, index: int, value: int) -> None:
        self._numbers[index] = value

    @property
    def text(self) -> bytes:
        """What was asked."""
        return self._map[_TEXT:]

    @property
    def exec_id(self) -> str:
        return self._map[EXEC_ID * 8 : EXEC_ID * 8 + 16].hex()

    @exec_id.setter
    def exec_id(self, id: str) -> None:
        self._map[EXEC_ID * 8 : EXEC_ID * 8 + 16] = bytes.fromhex(id)

    def place(self, channel: int) -> tuple[int, int, int] | None:
        """(number of the log file, offset in it, bytes of the stream before it), or None for a live reader."""
        at = BEHIND[channel]
        if not self[at]:
            return None
        first = at + 1 + (self[at] - 1) * _PLACE
        return self[first], self[first + 1], self[first + 2]

    def set_place(self, channel: int, place: tuple[int, int, int] | None) -> None:
        at = BEHIND[channel]
        if place is None:
            self[at] = 0
            return
        slot = 2 if self[at] == 1 else 1
        for index, value in enumerate(place):
            self[at + 1 + (slot - 1) * _PLACE + index] = value
        self[at] = slot

    def close(self) -> None:
        self._numbers.release()
        self._map.close()


def new(text: bytes) -> int:
    """A descriptor of a memo of what was asked, with every number 0."""
    fd = os.memfd_create("memo", os.MFD_CLOEXEC)
    os.ftruncate(fd, _TEXT)
    os.pwrite(fd, text, _TEXT)
    return fd
