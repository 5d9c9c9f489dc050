"""Clients that watch a running container and speak to it.

A follower sees its stream live while its window has room. One that falls behind reads what it missed
from the log file, at its own pace, and becomes live again at its end: it slows nobody, holds no
memory, and misses nothing. Without a log file the container has to wait for it.

How far a follower has come is the size of what is kept for its client (kept.py), and where in the log
one that fell behind reads is in its session's memo: the next shim goes on from there. A batch is shown
to the followers before it is logged; if we are killed in between it is shown again, and they know
which bytes of it they have.
"""

import fcntl
import struct
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from cribus.shim import crilog
from cribus.shim.crilog import LogFile
from cribus.shim.inlet import Inlet
from cribus.shim.pump import BLOCK, Pump
from cribus.shim.session import Sender, Session

_TIOCSWINSZ = 0x5414


class Place(NamedTuple):
    """Where in the log a batch begins, and how many bytes of its stream were logged before."""

    file: LogFile
    offset: int
    logged: int


Mark = Callable[[Place | None], None]  # notes where one that is behind reads; None: it is live


class _Cursor:
    """Reads one stream out of the log, from a place on, through reopened files."""

    def __init__(self, place: Place) -> None:
        self.file, self._offset, self.raw = place

    def place(self) -> Place:
        return Place(self.file, self._offset, self.raw)

    def read(self, stream: bytes) -> bytes:
        """The next text; b"" at the log's present end."""
        while True:
            text, used = crilog.parse(self.file.read(self._offset, BLOCK), stream)
            self._offset += used
            self.raw += len(text)
            if text:
                return text
            if used:
                continue
            if self.file.next is None:
                return b""
            self.file = self.file.next
            self._offset = self.file.start


class Follower:
    """One client's view of one stream. `seen` of its bytes were given to the sender; `behind` is where one
    reads that is not live."""

    def __init__(self, pump: Pump, sender: Sender, seen: int, mark: Mark) -> None:
        self.pump = pump
        self.stuck = False  # the container must wait for it
        self._sender = sender
        self._seen = seen
        self._mark = mark
        self._cursor: _Cursor | None = None
        self._rest = b""

    @property
    def level(self) -> bool:
        """Everything that was read was sent."""
        return self._cursor is None and not self.stuck

    @property
    def file(self) -> LogFile | None:
        """The log file that it reads, if it is behind."""
        return self._cursor.file if self._cursor is not None else None

    def fall_back(self, place: Place) -> None:
        """Read the log, from there on."""
        self._mark(place)
        self._cursor = _Cursor(place)

    def block(self, block: bytes, before: Place | None) -> None:
        """A batch is about to be logged; `before` is where its text will begin in the log, if there is one."""
        if self._cursor is not None:
            return
        block = block[max(0, self._seen - self.pump.read) :]
        count = self._sender.write(block)
        self._seen += count
        self.stuck = count < len(block)
        if self.stuck and before is not None:
            self.stuck = False
            self.fall_back(before)

    def go(self) -> None:
        """The window may have opened."""
        while self._cursor is not None and self._sender.room():
            if self._rest:
                self._rest = self._rest[self._give(self._rest) :]
            else:
                self._catch_up(self._cursor)

    def _give(self, data: bytes) -> int:
        count = self._sender.write(data)
        self._seen += count
        return count

    def _catch_up(self, cursor: _Cursor) -> None:
        at = cursor.raw
        self._mark(cursor.place())
        text = cursor.read(self.pump.name)
        if text:
            self._rest = text[max(0, self._seen - at) :]
            return
        self._seen = max(self._seen, self.pump.logged)
        tail = self.pump.tail[self._seen - self.pump.logged :]
        if self._give(tail) == len(tail):
            self._cursor = None
            self._mark(None)

    def end(self) -> None:
        self._sender.end()


class Watched(Protocol):
    """The container, as an attached client needs it."""

    followers: list[Follower]
    attached: "list[Attach]"
    stdin_once: bool
    terminal: int  # descriptor of the pty's master, or -1

    @property
    def waits(self) -> bool: ...  # for a reader, with output that was not shown yet
    def resume(self) -> None: ...
    def close_stdin(self) -> None: ...


class Attach:
    """One attached client."""

    def __init__(self, container: Watched, stdin: Inlet | None) -> None:
        self.session: Session
        self._container = container
        self._stdin = stdin
        self._followers: dict[int, Follower] = {}
        self._exit = -1

    def begin(self, followers: Mapping[int, Follower]) -> None:
        """Follow, by channel, from now on."""
        self._followers = dict(followers)
        self._container.followers.extend(self._followers.values())
        self._container.attached.append(self)
        for follower in self._followers.values():
            follower.go()

    def acked(self, channel: int) -> None:
        follower = self._followers.get(channel)
        if follower is not None:
            follower.go()
            follower.stuck = False  # it is asked again
            self._container.resume()
        self._finish()

    def resize(self, width: int, height: int) -> None:
        resize(self._container.terminal, width, height)

    def stdin_ended(self) -> None:
        if self._stdin is not None and self._container.stdin_once and self._container.terminal < 0:
            self._stdin.end(self._container.close_stdin)

    def gone(self) -> None:
        """What the client had said still reaches the container."""
        self._leave()

        def passed_on() -> None:
            if self._container.stdin_once and self._container.terminal < 0:
                self._container.close_stdin()
            self.session.free()

        if self._stdin is not None:
            self._stdin.end(passed_on)
        else:
            self.session.free()

    def ended(self, code: int) -> None:
        """The container is over: send what is left, then its exit code."""
        self._exit = code
        for follower in self._followers.values():
            follower.go()
        self._finish()

    def hang_up(self) -> None:
        """The container takes no more input."""
        if self._stdin is not None:
            self._stdin.close()

    def _finish(self) -> None:
        if self._exit < 0 or self._container.waits or not all(one.level for one in self._followers.values()):
            return
        for follower in self._followers.values():
            follower.end()
        self.session.exit(self._exit)
        self._leave()

    def _leave(self) -> None:
        for follower in self._followers.values():
            if follower in self._container.followers:
                self._container.followers.remove(follower)
        if self in self._container.attached:
            self._container.attached.remove(self)
        self._container.resume()


def resize(terminal: int, width: int, height: int) -> None:
    """Tell a terminal its size in characters (TIOCSWINSZ); nothing for what is none."""
    if terminal >= 0 and 0 < width < 65536 and 0 < height < 65536:
        fcntl.ioctl(terminal, _TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
