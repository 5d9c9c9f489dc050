"""NATS's client protocol as pure functions: what a client writes, and a parser of what a server sends.

Source: https://docs.nats.io/reference/reference-protocols/nats-protocol. No I/O here; `slim` does it.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from cribus.errors import InvalidArgument

PING = b"PING\r\n"
PONG = b"PONG\r\n"
NO_RESPONDERS = 503
_HEADERS = b"NATS/1.0"
_MOST = 1 << 20  # bytes: a longer control line than this is no NATS server


class Message:
    """MSG or HMSG. `status` is what an inline header says (503: nobody serves), else 0."""

    __slots__ = ("payload", "reply", "sid", "status", "subject")

    def __init__(self, head: list[bytes], payload: bytes, status: int = 0) -> None:
        self.subject = head[0].decode()
        self.sid = int(head[1])
        self.reply = head[2].decode() if len(head) > 2 else ""
        self.payload = payload
        self.status = status


class Info:
    """The server's greeting, or news about its cluster."""

    __slots__ = ("options",)

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options


class Problem:
    """-ERR: what the server complains of."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Ping:
    __slots__ = ()


class Pong:
    __slots__ = ()


Event = Message | Info | Problem | Ping | Pong


def connect(name: str, user: str, password: str) -> bytes:
    """CONNECT. Asks for headers and for the news that nobody serves a subject."""
    options = {
        "verbose": False,
        "pedantic": False,
        "lang": "python",
        "version": "1",
        "protocol": 1,
        "headers": True,
        "no_responders": True,
        "echo": False,
        "name": name,
    }
    if user:
        options |= {"user": user, "pass": password}
    return b"CONNECT %b\r\n" % msgspec.json.encode(options)


def sub(subject: str, sid: int) -> bytes:
    return b"SUB %b %d\r\n" % (subject.encode(), sid)


def unsub(sid: int) -> bytes:
    return b"UNSUB %d\r\n" % sid


def pub(subject: str, payload: bytes, reply: str = "") -> bytes:
    head = f"{subject} {reply}" if reply else subject
    return b"PUB %b %d\r\n%b\r\n" % (head.encode(), len(payload), payload)


def hpub(subject: str, headers: dict[str, str], payload: bytes, reply: str = "") -> bytes:
    head = f"{subject} {reply}" if reply else subject
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    block = b"%b\r\n%b\r\n" % (_HEADERS, lines.encode())
    return b"HPUB %b %d %d\r\n%b%b\r\n" % (head.encode(), len(block), len(block) + len(payload), block, payload)


class Parser:
    """Turns bytes, cut anywhere, into events."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that are whole by now. Raises InvalidArgument for what is not this protocol."""
        self._buffer += data
        at = 0
        try:
            while True:
                event, after = self._next(at)
                if after == at:
                    return
                at = after
                if event is not None:
                    yield event
        finally:
            del self._buffer[:at]

    def _next(self, at: int) -> tuple[Event | None, int]:
        """The event that begins at `at` and where the next begins; the same place when it is not whole."""
        end = self._buffer.find(b"\r\n", at)
        if end < 0:
            if len(self._buffer) - at > _MOST:
                raise InvalidArgument("the peer does not speak the NATS protocol; look at `bus.url`")
            return None, at
        word, _, rest = bytes(self._buffer[at:end]).partition(b" ")
        word = word.upper()
        if word in (b"MSG", b"HMSG"):
            return self._message(word, rest.split(), (at, end + 2))
        return _control(word, rest), end + 2

    def _message(self, word: bytes, head: list[bytes], place: tuple[int, int]) -> tuple[Event | None, int]:
        at, begin = place
        size = int(head.pop())
        if len(self._buffer) < begin + size + 2:
            return None, at
        payload = bytes(self._buffer[begin : begin + size])
        after = begin + size + 2
        if word == b"MSG":
            return Message(head, payload), after
        length = int(head.pop())
        return Message(head, payload[length:], _status(payload[:length])), after


def _control(word: bytes, rest: bytes) -> Event | None:
    if word == b"PING":
        return Ping()
    if word == b"PONG":
        return Pong()
    if word == b"INFO":
        return Info(msgspec.json.decode(rest))
    if word == b"-ERR":
        return Problem(rest.decode(errors="replace").strip(" '"))
    if word == b"+OK":
        return None
    raise InvalidArgument(f"the peer does not speak the NATS protocol (it said {word[:20]!r}); look at `bus.url`")


def _status(block: bytes) -> int:
    words = block.split(b"\r\n", 1)[0].split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
