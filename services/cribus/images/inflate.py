"""Compressed layers as plain bytes: gzip by ISA-L, zstd, or as they are; told by their first bytes.

Several gzip members or zstd frames in a row are one stream. What inflates beyond the limit is a bomb.
"""

from collections.abc import Iterator
from typing import Any

import zstandard
from isal import isal_zlib

from cribus.errors import DataLoss, InvalidArgument

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_BUFFER = 4 << 20
_ISAL_ERROR: Any = isal_zlib.error  # its stub says that this class is an instance


def _engine(head: bytes) -> Any:
    if head.startswith(_GZIP):
        return isal_zlib.decompressobj(wbits=31)
    if head.startswith(_ZSTD):
        return zstandard.ZstdDecompressor().decompressobj()
    return None


def inflate(chunks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """The plain bytes of a layer. Raises DataLoss for a damaged or truncated one, InvalidArgument for a bomb."""
    total = 0
    for plain in _inflated(chunks):
        total += len(plain)
        if total > limit:
            raise InvalidArgument(
                f"the layer inflates to more than {limit} bytes; images.max_layer_size allows no more"
            )
        yield plain


def _inflated(chunks: Iterator[bytes]) -> Iterator[bytes]:
    engine: Any = None
    started = plain = False
    for chunk in chunks:
        if not started:
            engine, started = _engine(chunk), True
            plain = engine is None
        if plain:
            yield chunk
            continue
        while chunk:
            if engine is None:
                engine = _engine(chunk)
                if engine is None:
                    if chunk.strip(b"\0"):
                        raise DataLoss("there is rubbish behind the compressed layer")
                    break
            yield from _step(engine, chunk)
            chunk = engine.unused_data if engine.eof else b""
            engine = None if engine.eof else engine
    if engine is not None:
        raise DataLoss("the layer is truncated: its compressed stream does not end")


def _step(engine: Any, chunk: bytes) -> Iterator[bytes]:
    try:
        if isinstance(engine, type(isal_zlib.decompressobj())):
            out = engine.decompress(chunk, _BUFFER)
            while out:
                yield out
                tail = engine.unconsumed_tail
                if engine.eof or not tail:
                    break
                out = engine.decompress(tail, _BUFFER)
        else:
            out = engine.decompress(chunk)
            if out:
                yield out
    except (_ISAL_ERROR, zstandard.ZstdError, EOFError) as error:
        raise DataLoss(f"the layer does not inflate: {error}") from error
