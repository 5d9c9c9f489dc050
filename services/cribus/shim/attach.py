"""Clients that watch a running container and speak to it.

A follower sees its stream live while its window has room. One that falls behind reads what it missed
from the log file, at its own pace, and becomes live again at its end: it slows nobody, holds no
memory, and misses nothing. Without a log file the container has to wait for it.
"""

import fcntl
import struct
from collections.abc import Callable
from typing import NamedTuple, Protocol

from cribus.shim import crilog
from cribus.shim.crilog import LogFile
from cribus.shim.pump import BLOCK, Pump
from cribus.shim.session import Sender, Session, Stream
from cribus.shim.writer import Writer

_TIOCSWINSZ = 0x5414


class Place(NamedTuple):
    """Where in the log a batch begins, and how many bytes of its stream were logged before."""

    file: LogFile
    offset: int
    logged: int


class _Cursor:
    """Reads one stream out of the log, from a place on, through reopened files."""

    def __init__(self, place: Place) -> None:
        self._file = place.file
        self._offset = place.offset
        self.raw = place.logged

    def read(self, stream: bytes) -> bytes:
        """The next text; b"" at the log's present end."""
        while True:
            text, used = crilog.parse(self._file.read(self._offset, BLOCK), stream)
            self._offset += used
            self.raw += len(text)
            if text:
                return text
            if used:
                continue
            if self._file.next is None:
                return b""
            self._file = self._file.next
            self._offset = self._file.start


class Follower:
    """One client's view of one stream. `stuck` means that the container must wait for it."""

    def __init__(self, pump: Pump, sender: Sender) -> None:
        self.pump = pump
        self._sender = sender
        self._seen = pump.read  # of the pump's bytes, how many were given to the sender
        self._cursor: _Cursor | None = None
        self._rest = b""

    @property
    def stuck(self) -> bool:
        return self._cursor is None and bool(self._rest)

    @property
    def level(self) -> bool:
        """Everything that was read was sent."""
        return self._cursor is None and not self._rest

    def block(self, block: bytes, before: Place | None) -> None:
        """A batch was read; `before` is where its text begins in the log, if there is one."""
        if self._cursor is not None:
            return
        if not self._rest:
            count = self._sender.write(block)
            self._seen += count
            if count == len(block):
                return
            block = block[count:]
        if before is not None:
            self._rest = b""
            self._cursor = _Cursor(before)
        else:
            self._rest += block

    def go(self) -> None:
        """The window may have opened."""
        while self._sender.room():
            if self._rest:
                count = self._sender.write(self._rest)
                self._rest = self._rest[count:]
                self._seen += count
            elif self._cursor is not None:
                self._catch_up(self._cursor)
            else:
                return

    def _catch_up(self, cursor: _Cursor) -> None:
        at = cursor.raw
        text = cursor.read(self.pump.name)
        if text:
            self._rest = text[max(0, self._seen - at) :]
            return
        self._cursor = None
        self._seen = max(self._seen, self.pump.logged)
        self._rest = self.pump.tail[self._seen - self.pump.logged :]

    def end(self) -> None:
        self._sender.end()


class Watched(Protocol):
    """The container, as an attached client needs it."""

    followers: list[Follower]
    attached: "list[Attach]"
    stdin_once: bool
    terminal: int  # descriptor of the pty's master, or -1

    def resume(self) -> None: ...
    def close_stdin(self) -> None: ...


class Attach:
    """One attached client."""

    def __init__(self, container: Watched, stdin: Writer | None, make: Callable[["Attach"], Session]) -> None:
        self._container = container
        self._stdin = stdin
        self._followers: dict[int, Follower] = {}
        self._exit = -1
        self.session = make(self)

    def begin(self, stream: Stream, pumps: dict[int, Pump]) -> None:
        """Follow these pumps, by channel, from now on."""
        self._followers = {channel: Follower(pump, stream.outgoing[channel]) for channel, pump in pumps.items()}
        self._container.followers.extend(self._followers.values())
        self._container.attached.append(self)

    def acked(self, channel: int) -> None:
        follower = self._followers.get(channel)
        if follower is not None:
            follower.go()
            self._container.resume()
        self._finish()

    def resize(self, width: int, height: int) -> None:
        resize(self._container.terminal, width, height)

    def stdin_ended(self) -> None:
        if self._stdin is not None and self._container.stdin_once and self._container.terminal < 0:
            self._container.close_stdin()

    def gone(self) -> None:
        self._leave()
        if self._stdin is not None and self._container.stdin_once and self._container.terminal < 0:
            self._container.close_stdin()

    def ended(self, code: int) -> None:
        """The container is over: send what is left, then its exit code."""
        self._exit = code
        for follower in self._followers.values():
            follower.go()
        self._finish()

    def _finish(self) -> None:
        if self._exit < 0 or not all(follower.level for follower in self._followers.values()):
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
