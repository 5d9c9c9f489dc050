"""WebSocket framing as a server speaks it (RFC 6455), without I/O: bytes in, events out.

No extensions are negotiated. A data message may come in fragments; each is handed on at once.
"""

import base64
import hashlib
import struct
from typing import NamedTuple

from cribus.errors import InvalidArgument

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_MAX_FRAME = 4 << 20  # bytes
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
NORMAL, PROTOCOL_ERROR, INTERNAL_ERROR = 1000, 1002, 1011


class Data(NamedTuple):
    """A fragment of a message; `first` and `last` say where in its message it stands."""

    data: bytes
    first: bool
    last: bool
    text: bool


class Ping(NamedTuple):
    data: bytes


class Close(NamedTuple):
    code: int


Event = Data | Ping | Close


def accept(key: str) -> str:
    """The Sec-WebSocket-Accept that answers a Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


def frame(kind: int, data: bytes = b"") -> bytes:
    """One whole message as a server sends it: unmasked."""
    size = len(data)
    if size < 126:
        return struct.pack(">BB", 0x80 | kind, size) + data
    if size < 1 << 16:
        return struct.pack(">BBH", 0x80 | kind, 126, size) + data
    return struct.pack(">BBQ", 0x80 | kind, 127, size) + data


def closing(code: int, reason: str = "") -> bytes:
    """A close frame; a control frame has 125 bytes at most."""
    return frame(CLOSE, struct.pack(">H", code) + reason.encode()[:120])


class Decoder:
    """The client's frames."""

    def __init__(self) -> None:
        self._incoming = bytearray()
        self._kind = 0  # of the data message under way, 0 between messages

    def feed(self, data: bytes) -> list[Event]:
        """What the bytes mean. Raises InvalidArgument for what is no client's WebSocket frame."""
        self._incoming += data
        events: list[Event] = []
        while (event := self._next()) is not None:
            if event is not _NOTHING:
                events.append(event)
        return events

    def _next(self) -> Event | None:
        """The next event; None when more bytes are needed."""
        header = self._header()
        if header is None or len(self._incoming) < header[1] + header[2]:
            return None
        first, at, size = header
        mask = bytes(self._incoming[at - 4 : at])
        data = _unmasked(bytes(self._incoming[at : at + size]), mask)
        del self._incoming[: at + size]
        return self._event(first & 0x0F, data, last=bool(first & 0x80))

    def _header(self) -> tuple[int, int, int] | None:
        """(first byte, where the payload begins, its size) of the next frame."""
        buffer = self._incoming
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        if first & 0x70:
            raise InvalidArgument("WebSocket frame with reserved bits, but no extension was agreed on")
        if not second & 0x80:
            raise InvalidArgument("WebSocket frame of a client without a mask")
        extra = {126: 2, 127: 8}.get(second & 0x7F, 0)
        if len(buffer) < 6 + extra:
            return None
        size = int.from_bytes(buffer[2 : 2 + extra], "big") if extra else second & 0x7F
        if size > (_MAX_FRAME if first & 0x0F < 8 else 125):
            raise InvalidArgument(f"WebSocket frame of {size} bytes is too large")
        return first, 6 + extra, size

    def _event(self, kind: int, data: bytes, *, last: bool) -> Event:
        if kind == PING:
            return Ping(data)
        if kind == PONG:
            return _NOTHING
        if kind == CLOSE:
            return Close(struct.unpack_from(">H", data)[0] if len(data) >= 2 else NORMAL)
        if kind not in (0, TEXT, BINARY) or (kind == 0) == (self._kind == 0):
            raise InvalidArgument(f"WebSocket frame of type {kind} where none may stand")
        first = kind != 0
        message = kind or self._kind
        self._kind = 0 if last else message
        return Data(data, first, last, message == TEXT)


_NOTHING = Ping(b"a pong: needs no answer")


def _unmasked(data: bytes, mask: bytes) -> bytes:
    """XOR with the repeated mask, as one operation on two long integers."""
    size = len(data)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")).to_bytes(size, "little")
