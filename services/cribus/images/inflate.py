"""Compressed layers as plain bytes: gzip by ISA-L, zstd, or as they are; told by their first bytes.

Several gzip members or zstd frames in a row are one stream. No step makes more than a few MiB, however
well the input is compressed, and what inflates beyond the limit is a bomb.
"""

import io
from collections.abc import Iterator
from typing import Any

from isal import isal_zlib

from cribus.errors import DataLoss, InvalidArgument

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"  # behind 0x50 to 0x5f: a zstd frame that carries no content
_BUFFER = 1 << 20
_ISAL_ERROR: Any = isal_zlib.error  # its stub says that this class is an instance


def kind(head: bytes) -> str:
    """gzip, zstd, or an empty string, by the first bytes of a stream."""
    if head.startswith(_GZIP):
        return "gzip"
    skippable = head[1:4] == _SKIPPABLE and head[0] >> 4 == 5
    return "zstd" if skippable or head.startswith(_ZSTD) else ""


def inflate(chunks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """The plain bytes of a layer. Raises DataLoss for a damaged or truncated one, InvalidArgument for a bomb."""
    total = 0
    head = next(chunks, b"")
    way = {"gzip": _gunzipped, "zstd": _unzstd, "": _plain}[kind(head)]
    for plain in way(head, chunks):
        total += len(plain)
        if total > limit:
            raise InvalidArgument(
                f"the layer inflates to more than {limit} bytes; images.max_layer_size allows no more"
            )
        yield plain


def _plain(head: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from chunks


def _gunzipped(head: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    engine: Any = None  # None between two members
    chunk = head
    while chunk:
        if engine is None:
            chunk = chunk.lstrip(b"\0")  # tape writers fill up with zeros
            engine = isal_zlib.decompressobj(wbits=31) if chunk else None
        if engine is not None:
            try:
                plain = engine.decompress(chunk, _BUFFER)
                while plain:
                    yield plain
                    plain = b"" if engine.eof else engine.decompress(engine.unconsumed_tail, _BUFFER)
            except (_ISAL_ERROR, EOFError) as error:
                raise DataLoss(f"the layer does not inflate: {error}") from error
        chunk = engine.unused_data if engine is not None and engine.eof else b""
        engine = None if engine is None or engine.eof else engine
        chunk = chunk or next(chunks, b"")
    if engine is not None:
        raise DataLoss("the layer is truncated: its compressed stream does not end")


class _Reader(io.RawIOBase):
    """Chunks as the file that zstandard reads from."""

    def __init__(self, head: bytes, chunks: Iterator[bytes]) -> None:
        self._left = memoryview(head)
        self._chunks = chunks

    def readable(self) -> bool:
        return True

    def read(self, most: int = -1) -> bytes:
        if not self._left:
            self._left = memoryview(next(self._chunks, b""))
        piece, self._left = self._left[:most], self._left[most:]
        return bytes(piece)


def _unzstd(head: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard  # 15 ms, and most layers are gzip

    source: Any = _Reader(head, chunks)  # its stub wants more of a file than it uses
    try:
        with zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True) as stream:
            while plain := stream.read(_BUFFER):
                yield plain
    except zstandard.ZstdError as error:
        raise DataLoss(f"the layer does not inflate: {error}") from error
