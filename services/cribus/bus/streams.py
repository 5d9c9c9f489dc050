"""Exec and attach streams: bytes both ways over the bus, exact through a lost connection.

No I/O here: the gateway and the command line drive it over nats-py, the shim over its slim client.

Frames are msgpack lists, each side on its own subject (`subjects.stream`):
    ["d", channel, offset, bytes]   data; `offset` counts from the channel's beginning
    ["e", channel, offset]          no more data after `offset`
    ["a", channel, offset]          everything before `offset` was taken; data may run to offset + WINDOW
    ["r", width, height]            terminal size in characters
    ["x", exit_code, message]       the process ended (server to client, after every channel's end)
    ["q"]                           the client goes away
    ["p"]                           say again what is not acknowledged: sent after a reconnect

A sender keeps what is not acknowledged, at most WINDOW bytes a channel, and sends it again when its
peer asks or its own connection comes back; the receiver drops what it already has. A receiver
acknowledges only what its reader took, so a slow reader stops its own writer and nobody else. What a
sender keeps may outlive its process: then the next one goes on where the bytes were acknowledged.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from cribus.bus.codec import pack, unpack
from cribus.errors import InvalidArgument

STDIN, STDOUT, STDERR = 0, 1, 2
WINDOW = 256 << 10  # bytes not acknowledged, a channel
CHUNK = 64 << 10  # bytes in one frame at most

Send = Callable[[bytes], None]


class Kept(Protocol):
    """What a sender has sent and may have to send again, by its offset in the channel."""

    @property
    def size(self) -> int: ...  # where the next byte goes
    def append(self, data: bytes | memoryview) -> None: ...
    def read(self, at: int, count: int) -> bytes: ...
    def drop(self, before: int) -> None: ...


class Memory:
    """Kept for as long as this process lives."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._begin = 0

    @property
    def size(self) -> int:
        return self._begin + len(self._buffer)

    def append(self, data: bytes | memoryview) -> None:
        self._buffer += data

    def read(self, at: int, count: int) -> bytes:
        return bytes(self._buffer[at - self._begin : at - self._begin + count])

    def drop(self, before: int) -> None:
        del self._buffer[: before - self._begin]
        self._begin = before


class Sender:
    """One channel's outgoing half. With `kept` of an earlier process, `acked` of it was acknowledged."""

    __slots__ = ("_channel", "_ended", "_kept", "_send", "_sent", "acked")

    def __init__(self, channel: int, send: Send, kept: Kept, acked: int = 0) -> None:
        self.acked = acked
        self._channel = channel
        self._send = send
        self._kept = kept
        self._sent = kept.size
        self._ended = False

    def room(self) -> int:
        """How many bytes may be written now."""
        return 0 if self._ended else WINDOW - (self._kept.size - self.acked)

    def write(self, data: bytes | memoryview) -> int:
        """Send as much of `data` as the window allows; returns how much that was."""
        taken = memoryview(data)[: self.room()]
        self._kept.append(taken)
        self.push()
        return len(taken)

    def push(self) -> None:
        """Send what was kept by somebody else, who respected `room`."""
        while self._sent < self._kept.size:
            self._sent += self._piece(self._sent)

    def _piece(self, at: int) -> int:
        piece = self._kept.read(at, min(CHUNK, self._kept.size - at))
        self._send(pack(["d", self._channel, at, piece]))
        return len(piece)

    def end(self) -> None:
        """Say that nothing follows. Idempotent."""
        if not self._ended:
            self._ended = True
            self._send(pack(["e", self._channel, self._sent]))

    def acknowledged(self, offset: int) -> None:
        """The peer has everything before `offset`."""
        fresh = min(offset, self._sent)
        if fresh > self.acked:
            self.acked = fresh
            self._kept.drop(fresh)

    def drained(self) -> bool:
        return self.acked == self._kept.size

    def repeat(self) -> None:
        """Send again what was not acknowledged."""
        at = self.acked
        while at < self._sent:
            at += self._piece(at)
        if self._ended:
            self._send(pack(["e", self._channel, self._sent]))


class Receiver:
    """One channel's incoming half. `data` hands out what is new; `done` says how much of it was used up.

    `got` is what an earlier process had used up.
    """

    __slots__ = ("_asked", "_channel", "_end", "_got", "_send", "_told", "_used")

    def __init__(self, channel: int, send: Send, got: int = 0) -> None:
        self._channel = channel
        self._send = send
        self._got = got
        self._used = got
        self._told = got
        self._end = -1
        self._asked = -1  # where the last repeat that was asked for begins

    def data(self, offset: int, piece: bytes) -> bytes:
        """What of `piece` is new and in order; a gap is dropped, its repeat will come."""
        if offset > self._got:
            self.ask()
            return b""
        fresh = piece[self._got - offset :]
        self._got += len(fresh)
        if not fresh:
            self.acknowledge()
        return fresh

    def ask(self) -> None:
        """Ask for a repeat, once a gap: the frames behind a gap all show it."""
        if self._asked != self._got:
            self._asked = self._got
            self._send(pack(["p"]))

    def end_at(self, offset: int) -> None:
        self._end = offset
        if self.at_end():
            self.acknowledge()  # the sender waits for it before it lets go

    def at_end(self) -> bool:
        """Every byte that will ever come was handed out."""
        return self._end >= 0 and self._got >= self._end

    def done(self, count: int) -> None:
        """The reader has used `count` more bytes; tells the peer now and then."""
        self._used += count
        if self._used - self._told >= WINDOW // 4 or self.at_end():
            self.acknowledge()

    def acknowledge(self) -> None:
        self._told = self._used
        self._send(pack(["a", self._channel, self._used]))


class Stream:
    """All channels of one stream as one side sees them. `feed` turns a frame into what it means."""

    def __init__(self, send: Send, outgoing: Iterable[int], incoming: Iterable[int]) -> None:
        self._send = send
        self.outgoing = {channel: Sender(channel, send, Memory()) for channel in outgoing}
        self.incoming = {channel: Receiver(channel, send) for channel in incoming}
        self._size: bytes | None = None
        self._final: bytes | None = None

    def keep(self, channel: int, kept: Kept, acked: int) -> None:
        """Let what is outgoing on a channel be kept there, and go on after what an earlier process had sent."""
        self.outgoing[channel] = Sender(channel, self._send, kept, acked)

    def go_on(self, channel: int, got: int) -> None:
        """Go on after what an earlier process had used up of an incoming channel."""
        self.incoming[channel] = Receiver(channel, self._send, got)

    def feed(self, frame: bytes) -> tuple[Any, ...]:
        """One of ("data", channel, bytes), ("end", channel), ("acked", channel), ("resize", w, h),
        ("exit", code, message), ("gone",), ("nothing",). Raises InvalidArgument for rubbish."""
        try:
            kind, *rest = unpack(frame)
            return self._meaning(kind, rest)
        except (ValueError, TypeError, IndexError) as error:
            raise InvalidArgument(f"not a frame of a stream: {error}") from error

    def _meaning(self, kind: str, rest: list[Any]) -> tuple[Any, ...]:
        if kind == "d" and rest[0] in self.incoming:
            fresh = self.incoming[rest[0]].data(rest[1], rest[2])
            return ("data", rest[0], fresh) if fresh else ("nothing",)
        if kind == "e" and rest[0] in self.incoming:
            self.incoming[rest[0]].end_at(rest[1])
            if self.incoming[rest[0]].at_end():
                return ("end", rest[0])
            self.incoming[rest[0]].ask()
        if kind == "a" and rest[0] in self.outgoing:
            self.outgoing[rest[0]].acknowledged(rest[1])
            return ("acked", rest[0])
        if kind == "p":
            self.repeat()
        return {"r": ("resize", *rest), "x": ("exit", *rest), "q": ("gone",)}.get(kind, ("nothing",))

    def resize(self, width: int, height: int) -> None:
        self._size = pack(["r", width, height])
        self._send(self._size)

    def exit(self, code: int, message: str = "") -> None:
        """The last word of the server; repeated with the rest when the client asks."""
        self._final = pack(["x", code, message])
        self._send(self._final)

    def leave(self) -> None:
        self._send(pack(["q"]))

    def drained(self) -> bool:
        return all(sender.drained() for sender in self.outgoing.values())

    def reconnected(self) -> None:
        """This side's connection is back: frames of both directions may have been lost."""
        self.repeat()
        self._send(pack(["p"]))

    def repeat(self) -> None:
        for sender in self.outgoing.values():
            sender.repeat()
        for receiver in self.incoming.values():
            receiver.acknowledge()
        if self._size is not None:
            self._send(self._size)
        if self._final is not None:
            self._send(self._final)
