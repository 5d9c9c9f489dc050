"""A SPDY client for tests: the other half of gateway/streaming/spdy.py."""

import struct
import zlib

from cribus.gateway.streaming.dictionary import DICTIONARY


class Peer:
    """Makes a client's frames and takes a server's apart."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)

    def block(self, headers: dict[str, str]) -> bytes:
        plain = struct.pack(">I", len(headers))
        for word in (text.encode() for pair in headers.items() for text in pair):
            plain += struct.pack(">I", len(word)) + word
        return self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def open(self, stream: int, headers: dict[str, str], *, fin: bool = False) -> bytes:
        return control(1, struct.pack(">IIBB", stream, 0, 0, 0) + self.block(headers), flags=int(fin))

    def frames(self, data: bytes) -> list[tuple[object, ...]]:
        """("data", stream, fin, bytes) and (type of control frame, payload)."""
        found: list[tuple[object, ...]] = []
        while data:
            word, rest = struct.unpack_from(">II", data)
            payload = data[8 : 8 + (rest & 0xFFFFFF)]
            data = data[8 + len(payload) :]
            if word >> 31:
                if word & 0xFFFF == 2:
                    payload = payload[:4] + self._inflate.decompress(payload[4:])
                found.append((word & 0xFFFF, payload))
            else:
                found.append(("data", word, bool(rest >> 24), payload))
        return found


def control(kind: int, payload: bytes, *, flags: int = 0, version: int = 3) -> bytes:
    return struct.pack(">II", 0x80000000 | version << 16 | kind, flags << 24 | len(payload)) + payload


def data(stream: int, content: bytes, *, fin: bool = False) -> bytes:
    return struct.pack(">II", stream, int(fin) << 24 | len(content)) + content
