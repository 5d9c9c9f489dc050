"""One output stream of a container into its log, exact through SIGKILL at any instruction.

    container's pipe --splice--> stage --tee--> scratch --read--> format --pwrite--> log

Stage (a pipe) and page (a memfd) live in the keeper, so the next shim finds them as they are. The page
has one state byte, which names the slot in force and its phase, and two slots {base offset in the log,
bytes of the stream logged, consumed and staged, time, unfinished line after it, flags}:

    IDLE     what the slot says is in the log; the stage may hold fresh bytes
    WRITING  the stage holds the slot's bytes: their text is being written at `base`
    DONE     it is written; the slot's bytes are being dropped from the stage

A new shim redoes WRITING (the same bytes, time and place: the same text), finishes DONE, goes on. The
slot that is not in force holds the unfinished line that came before.
"""

import mmap
import os
import struct
import time

from cribus.linux import fds as descriptors
from cribus.shim import crilog
from cribus.shim.crilog import LogFile
from cribus.steps import Step

BLOCK = 65536  # bytes a batch: what is in the cache is faster (FLOORS.md, 8)
_IDLE, _WRITING, _DONE = 0, 1, 2
_FLUSH, _ENDED = 1, 2
_SLOT = struct.Struct("<QQQQqIB")  # base, logged, consumed, staged, time, length of the unfinished line, flags
_HEADS = (64, 128)
_TAILS = (4096, 4096 + 16384)
_SIZE = 4096 + 2 * 16384
_STAGED = Step("shim.log.staged")
_INTENT = Step("shim.log.intent")
_WRITTEN = Step("shim.log.written")
_SET_DONE = Step("shim.log.done")
_DROPPED = Step("shim.log.dropped")


def new_page() -> int:
    """A descriptor of an empty page."""
    fd = os.memfd_create("log-page", os.MFD_CLOEXEC)
    os.ftruncate(fd, _SIZE)
    return fd


def new_stage() -> int:
    """A pipe as one descriptor that is both its ends."""
    read, write = os.pipe()
    os.close(write)
    try:
        return os.open(f"/proc/self/fd/{read}", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    finally:
        os.close(read)


class Tools:
    """What all pumps of a process share: a scratch pipe, always empty between batches, and /dev/null."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)

    def peek(self, source: int, count: int) -> bytes:
        """The first bytes of a pipe, at most `count`, left where they are; b"" at its end."""
        teed = descriptors.tee(source, self.write, count)
        block = os.read(self.read, teed) if teed else b""
        while len(block) < teed:
            block += os.read(self.read, teed - len(block))
        return block


class _Slot:
    __slots__ = ("base", "consumed", "flags", "logged", "staged", "tail", "time")

    def __init__(self, base: int, sizes: tuple[int, int, int], time: int, rest: tuple[bytes, int]) -> None:
        self.base = base
        self.logged, self.consumed, self.staged = sizes
        self.time = time
        self.tail, self.flags = rest


class _Page:
    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, _SIZE)

    def state(self) -> tuple[int, int]:
        """(slot in force, its phase)."""
        return self._map[0] & 1, self._map[0] >> 1

    def set(self, slot: int, phase: int) -> None:
        self._map[0] = slot | phase << 1

    def load(self, slot: int) -> _Slot:
        base, logged, consumed, staged, at, length, flags = _SLOT.unpack_from(self._map, _HEADS[slot])
        tail = self._map[_TAILS[slot] : _TAILS[slot] + length]
        return _Slot(base, (logged, consumed, staged), at, (tail, flags))

    def store(self, slot: int, what: _Slot) -> None:
        """Fill the slot that is not in force."""
        length = len(what.tail)
        sizes = (what.logged, what.consumed, what.staged)
        _SLOT.pack_into(self._map, _HEADS[slot], what.base, *sizes, what.time, length, what.flags)
        if length:
            self._map[_TAILS[slot] : _TAILS[slot] + length] = what.tail


class Pump:
    """`source` is the container's end that we read, `stage` and `page` what the keeper holds for us.

    `read` counts the stream's bytes from its first, `logged` those of them whose text is in the log.
    """

    def __init__(self, name: str, tools: Tools, held: tuple[int, int, int]) -> None:
        self.name = name.encode()
        self.source, self._stage, page = held
        self._tools = tools
        self._page = _Page(page)
        slot, _ = self._page.state()
        before = self._page.load(slot)
        self.tail = before.tail
        self.ended = bool(before.flags & _ENDED)  # nothing will come any more, and the log says so
        self.logged = before.logged
        self.lost = 0  # bytes that the log's disk did not take

    @property
    def read(self) -> int:
        return self.logged + len(self.tail)

    def recover(self, log: LogFile | None) -> None:
        """Finish what an earlier shim was killed in. To be called once, first."""
        slot, phase = self._page.state()
        what = self._page.load(slot)
        if phase == _WRITING:
            self.tail = self._page.load(slot ^ 1).tail
            block = self._tools.peek(self._stage, what.consumed) if what.consumed else b""
            out, _ = crilog.render(self.tail, block, self._head(what.time), end=bool(what.flags & _FLUSH))
            if log is not None and not log.write(out, what.base):
                self.lost += len(self.tail) + len(block) - len(what.tail)
            self._page.set(slot, _DONE)
            phase = _DONE
        if phase == _DONE:
            self._drop(what.consumed - (what.staged - self.staged()))
            self._page.set(slot, _IDLE)
        self.tail, self.logged = what.tail, what.logged

    def look(self, log: LogFile | None) -> bytes | None:
        """The next batch, which stays until `commit`; None when there is nothing now, b"" when the stream
        has ended, which is then in the log."""
        if self.ended:
            return b""
        if not self.staged():
            try:
                if not os.splice(self.source, self._stage, BLOCK, flags=3):
                    return self._end(log)
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno != 5:  # EIO: a terminal whose other side is closed
                    raise
                return self._end(log)
        _STAGED.passed()
        return self._tools.peek(self._stage, self.staged())

    def commit(self, log: LogFile | None, block: bytes) -> None:
        """Write what `look` has shown."""
        self._commit(log, block)

    def flush(self, log: LogFile | None) -> None:
        """Write the unfinished line as a part: its writer is dead."""
        if self.tail:
            self._commit(log, b"", _FLUSH)

    def _end(self, log: LogFile | None) -> bytes:
        self.ended = True
        self._commit(log, b"", _FLUSH | _ENDED)
        return b""

    def _commit(self, log: LogFile | None, block: bytes, flags: int = 0) -> None:
        slot = self._page.state()[0] ^ 1
        now = time.time_ns()
        out, rest = crilog.render(self.tail, block, self._head(now), end=bool(flags & _FLUSH))
        base = log.size() if log is not None else 0
        logged = self.logged + len(self.tail) + len(block) - len(rest)
        self._page.store(slot, _Slot(base, (logged, len(block), self.staged()), now, (rest, flags)))
        self._page.set(slot, _WRITING)
        _INTENT.passed()
        if log is not None and out and not log.write(out, base):
            self.lost += len(self.tail) + len(block) - len(rest)
        _WRITTEN.passed()
        self._page.set(slot, _DONE)
        _SET_DONE.passed()
        if block:
            self._drop(len(block))
        _DROPPED.passed()
        self.tail, self.logged = rest, logged
        self._page.set(slot, _IDLE)

    def _head(self, at: int) -> bytes:
        return b"%b %b " % (crilog.stamp(at), self.name)

    def staged(self) -> int:
        """How many bytes were taken off the source that are not in the log."""
        return descriptors.level(self._stage)

    def _drop(self, count: int) -> None:
        while count > 0:
            count -= os.splice(self._stage, self._tools.null, count, flags=3)
