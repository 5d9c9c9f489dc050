"""SPDY/3.1 framing as a server speaks it, without I/O: bytes in, events out, bytes to send out.

Kept to what the kubelet's and crictl's remote command and port forwarding use: streams that the
client opens, with headers, data, half-close, reset, ping and goaway. Their library knows no flow
control: it neither grants nor respects windows. So we grant windows to whoever wants them, and
respect the peer's once it has shown (by SETTINGS or WINDOW_UPDATE) that it has any.

    control frame  |1| version 15 | type 16 |    flags 8 | length 24 |   payload
    data frame     |0|   stream id 31       |    flags 8 | length 24 |   payload
"""

import struct
import zlib
from typing import NamedTuple

from cribus.errors import InvalidArgument
from cribus.gateway.streaming.dictionary import DICTIONARY

_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _HEADERS, _WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
_FIN = 0x01
_INITIAL_WINDOW = 7  # id of a setting
WINDOW = 64 << 10  # bytes of a stream that may be under way before the first WINDOW_UPDATE
CHUNK = 32 << 10  # bytes of data in a frame that we send
_MAX_CONTROL = 64 << 10  # bytes of a control frame, and of headers once they are inflated
PROTOCOL_ERROR, INVALID_STREAM, REFUSED_STREAM, CANCEL, INTERNAL_ERROR = 1, 2, 3, 5, 6


class Opened(NamedTuple):
    """The client opened a stream; header names are in lower case."""

    stream: int
    headers: dict[str, str]
    ended: bool


class Data(NamedTuple):
    """Bytes of a stream; `ended` says that the client sends no more. A frame may come in pieces."""

    stream: int
    data: bytes
    ended: bool


class Reset(NamedTuple):
    stream: int
    status: int


class Credit(NamedTuple):
    """The peer takes more bytes of one stream (0: of any)."""

    stream: int


class GoAway(NamedTuple):
    last: int


Event = Opened | Data | Reset | Credit | GoAway


class Session:
    """One connection. What it wants to send gathers in `outgoing`; `take` hands it over."""

    def __init__(self) -> None:
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._piece: tuple[int, int, bool] | None = None  # a data frame under way: stream, bytes left, fin
        self._window = WINDOW
        self._windowed = False  # the peer has shown that it does flow control
        self._credit: dict[int, int] = {}  # stream → bytes that the peer takes beyond WINDOW
        self._used: dict[int, int] = {}  # stream → bytes used up here and not yet granted again

    def take(self) -> bytes:
        """Everything to be sent now, once."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def feed(self, data: bytes) -> list[Event]:
        """What the bytes mean. Raises InvalidArgument for what is no SPDY/3.1; close the connection then."""
        self._incoming += data
        events: list[Event] = []
        while self._step(events):
            pass
        return events

    def _step(self, events: list[Event]) -> bool:
        """Use up one frame, or a piece of a data frame; False when more bytes are needed."""
        if self._piece is not None:
            return self._data(events, *self._piece)
        if len(self._incoming) < 8:
            return False
        word, rest = struct.unpack_from(">II", self._incoming)
        flags, length = rest >> 24, rest & 0xFFFFFF
        if not word >> 31:
            del self._incoming[:8]
            self._piece = (word, length, bool(flags & _FIN))
            return True
        if length > _MAX_CONTROL:
            raise InvalidArgument(f"SPDY control frame of {length} bytes; at most {_MAX_CONTROL} are taken")
        if len(self._incoming) < 8 + length:
            return False
        payload = bytes(self._incoming[8 : 8 + length])
        del self._incoming[: 8 + length]
        version, kind = word >> 16 & 0x7FFF, word & 0xFFFF
        if version != 3:
            raise InvalidArgument(f"SPDY version {version}; only 3 is spoken here")
        try:
            self._control(events, kind, flags, payload)
        except (struct.error, zlib.error, UnicodeDecodeError) as error:
            raise InvalidArgument(f"broken SPDY frame of type {kind}: {error}") from error
        return True

    def _data(self, events: list[Event], stream: int, left: int, fin: bool) -> bool:
        if left and not self._incoming:
            return False
        data = bytes(self._incoming[:left])
        del self._incoming[: len(data)]
        left -= len(data)
        self._piece = (stream, left, fin) if left else None
        events.append(Data(stream, data, fin and not left))
        return True

    def _control(self, events: list[Event], kind: int, flags: int, payload: bytes) -> None:
        if kind == _SYN_STREAM:
            (stream,) = struct.unpack_from(">I", payload)
            headers = self._headers(payload[10:])
            events.append(Opened(stream & 0x7FFFFFFF, headers, bool(flags & _FIN)))
        elif kind in (_SYN_REPLY, _HEADERS):
            self._headers(payload[4:])  # inflated in any case: both ends' dictionaries must stay the same
        elif kind == _RST_STREAM:
            events.append(Reset(*struct.unpack(">II", payload)))
        elif kind == _PING:
            (number,) = struct.unpack(">I", payload)
            if number % 2:  # the client's own; even numbers would be answers to ours
                self._send(_PING, payload)
        elif kind == _GOAWAY:
            events.append(GoAway(*struct.unpack_from(">I", payload)))
        elif kind == _SETTINGS:
            events.append(self._settings(payload))
        elif kind == _WINDOW_UPDATE:
            stream, delta = struct.unpack(">II", payload)
            self._windowed = True
            self._credit[stream] = self._credit.get(stream, 0) + (delta & 0x7FFFFFFF)
            events.append(Credit(stream))

    def _settings(self, payload: bytes) -> Credit:
        for index in range(struct.unpack_from(">I", payload)[0]):
            setting, value = struct.unpack_from(">II", payload, 4 + 8 * index)
            if setting & 0xFFFFFF == _INITIAL_WINDOW:
                self._windowed = True
                self._window = value
        return Credit(0)

    def _headers(self, block: bytes) -> dict[str, str]:
        plain = self._inflate.decompress(block, _MAX_CONTROL)
        if self._inflate.unconsumed_tail:
            raise InvalidArgument(f"SPDY headers of more than {_MAX_CONTROL} bytes")
        (count,) = struct.unpack_from(">I", plain)
        at, words = 4, []
        for _ in range(2 * count):
            (size,) = struct.unpack_from(">I", plain, at)
            words.append(plain[at + 4 : at + 4 + size].decode())
            at += 4 + size
        return {name.lower(): value for name, value in zip(words[::2], words[1::2], strict=True)}

    def _send(self, kind: int, payload: bytes, flags: int = 0) -> None:
        self._outgoing += struct.pack(">II", 0x80030000 | kind, flags << 24 | len(payload)) + payload

    def reply(self, stream: int) -> None:
        """Accept a stream."""
        block = self._deflate.compress(struct.pack(">I", 0)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        self._send(_SYN_REPLY, struct.pack(">I", stream) + block)

    def room(self, stream: int) -> int:
        """How many bytes of data may be sent on a stream now."""
        return max(0, self._window + self._credit.get(stream, 0)) if self._windowed else CHUNK

    def data(self, stream: int, data: bytes | memoryview, *, fin: bool = False) -> None:
        """Send data; `fin` says that nothing follows on this stream from our side."""
        view = memoryview(data)
        self._credit[stream] = self._credit.get(stream, 0) - len(view)
        for at in range(0, len(view) or 1, CHUNK):
            piece = view[at : at + CHUNK]
            last = fin and at + CHUNK >= len(view)
            self._outgoing += struct.pack(">II", stream, (_FIN if last else 0) << 24 | len(piece))
            self._outgoing += piece

    def used(self, stream: int, count: int) -> None:
        """So many bytes of a stream were used up here: the peer may send as many again."""
        total = self._used.get(stream, 0) + count
        if total >= WINDOW // 2:
            self._send(_WINDOW_UPDATE, struct.pack(">II", stream, total))
            total = 0
        self._used[stream] = total

    def reset(self, stream: int, status: int) -> None:
        """Give a stream up in both directions."""
        self._send(_RST_STREAM, struct.pack(">II", stream, status))
        self.forget(stream)

    def forget(self, stream: int) -> None:
        """A stream is over in both directions: keep nothing about it."""
        self._credit.pop(stream, None)
        self._used.pop(stream, None)

    def goaway(self, last: int) -> None:
        """Nothing new is taken after stream `last`."""
        self._send(_GOAWAY, struct.pack(">II", last, 0))
