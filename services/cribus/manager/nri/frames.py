"""Two layers of frames on one unix socket, as pure functions.

Outside is NRI's multiplexer: two numbers, big-endian, the connection and the length of what follows. Inside
each connection is ttrpc: length, stream, kind, flags, data. On connection 1 the runtime asks the plugin, on
connection 2 the plugin asks the runtime; who asks numbers the streams, oddly.

    | connection (32) | length (32) | length (32) | stream (32) | kind (8) | flags (8) | data ... |
"""

import struct
from typing import NamedTuple

from cribus.manager.nri.protobuf import Malformed

PLUGIN, RUNTIME = 1, 2  # connections, by who answers there
REQUEST, RESPONSE = 1, 2  # kinds; 3 is data of a stream, which NRI does not have
MOST = 4 << 20  # bytes of data in a frame
_OUTER = struct.Struct(">II")
_INNER = struct.Struct(">IIBB")
# Go's ttrpc writes and reads through buffers of this size, and its multiplexer refuses a frame that is
# larger than what is being read: a message goes as its first 4096 bytes, then all the rest.
_PIECE = 4096


class Frame(NamedTuple):
    stream: int
    kind: int
    data: bytes


def pack(connection: int, frame: Frame) -> bytes:
    """The bytes of one message. Raises ValueError for one that no peer would take."""
    if len(frame.data) > MOST:
        raise ValueError(f"a message of {len(frame.data)} bytes; ttrpc takes {MOST}")
    whole = _INNER.pack(len(frame.data), frame.stream, frame.kind, 0) + frame.data
    first, rest = whole[:_PIECE], whole[_PIECE:]
    out = _OUTER.pack(connection, len(first)) + first
    return out + _OUTER.pack(connection, len(rest)) + rest if rest else out


class Inbox:
    """Frames out of what a socket gives, cut wherever."""

    def __init__(self) -> None:
        self._trunk = bytearray()
        self._inside: dict[int, bytearray] = {PLUGIN: bytearray(), RUNTIME: bytearray()}

    def feed(self, data: bytes) -> list[tuple[int, Frame]]:
        """What is complete now, with its connection. Raises Malformed; nothing more can be read then."""
        self._trunk += data
        found: list[tuple[int, Frame]] = []
        while len(self._trunk) >= _OUTER.size:
            connection, size = _OUTER.unpack_from(self._trunk)
            if size > MOST + _INNER.size:
                raise Malformed(f"a frame of {size} bytes on connection {connection}: this is no NRI plugin")
            end = _OUTER.size + size
            if len(self._trunk) < end:
                break
            inside = self._inside.get(connection)
            if inside is not None:
                inside += self._trunk[_OUTER.size : end]
                found += [(connection, frame) for frame in _frames(inside)]
            del self._trunk[:end]
        return found


def _frames(buffer: bytearray) -> list[Frame]:
    """The complete frames at the beginning of the buffer, taken out of it."""
    found: list[Frame] = []
    while len(buffer) >= _INNER.size:
        size, stream, kind, _ = _INNER.unpack_from(buffer)
        if size > MOST:
            raise Malformed(f"a message of {size} bytes; ttrpc takes {MOST}")
        end = _INNER.size + size
        if len(buffer) < end:
            break
        found.append(Frame(stream, kind, bytes(buffer[_INNER.size : end])))
        del buffer[:end]
    return found
