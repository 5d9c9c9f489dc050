"""One layer on its way: bytes are hashed, kept, inflated, hashed again and written, all at once.

Blocking, for a thread. Memory holds one chunk at a time, whatever the layer's size.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from cribus.errors import DataLoss, ResourceExhausted
from cribus.images.content import CHUNK, Content
from cribus.images.inflate import inflate
from cribus.images.snapshots import Snapshots
from cribus.images.store import Layer
from cribus.images.tarstream import Chunks
from cribus.images.unpack import unpack

_TELL = 0.1  # seconds between two words on progress
Fetch = Callable[[str, int], Iterator[bytes]]


class Stores(NamedTuple):
    content: Content
    snapshots: Snapshots
    limit: int  # bytes of a plain layer


class Progress:
    """Counts bytes and tells now and then."""

    def __init__(self, tell: Callable[[str, int], None]) -> None:
        self._tell = tell
        self._last = 0.0
        self.done = 0

    def add(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self._last >= _TELL:
            self._last = now
            self._tell("fetching", self.done)


def bring(layer: Layer, stores: Stores, fetch: Fetch, progress: Progress) -> None:
    """Make the layer be there: from its blob if that is whole, else from the registry, resumed.

    Raises DataLoss when a digest does not hold; nothing of the layer is left then.
    """
    folder = stores.snapshots.new()
    try:
        if stores.content.has(layer.digest):
            source = stores.content.chunks(layer.digest)
        else:
            source = _fetched(layer, stores.content, fetch, progress)
        _write(layer, source, str(folder), stores.limit)
    except OSError as error:
        stores.snapshots.abandon(folder)
        raise ResourceExhausted(
            f"the layer cannot be stored: {error.strerror}; `df` shows where space is short"
        ) from error
    except BaseException as error:
        stores.snapshots.abandon(folder)
        if isinstance(error, DataLoss):  # going on from these bytes would fail in the same way
            stores.content.partial(layer.digest).unlink(missing_ok=True)
        raise
    stores.snapshots.commit(folder, layer.diff_id)


def _write(layer: Layer, source: Iterator[bytes], folder: str, limit: int) -> None:
    plain = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for chunk in inflate(source, limit):
            plain.update(chunk)
            yield chunk

    unpack(Chunks(hashed()), folder)
    for _ in source:  # what stands behind the last member belongs to the blob's digest
        pass
    found = "sha256:" + plain.hexdigest()
    if found != layer.diff_id:
        raise DataLoss(f"the layer's content has digest {found}, its config says {layer.diff_id}")


def _fetched(layer: Layer, content: Content, fetch: Fetch, progress: Progress) -> Iterator[bytes]:
    """The blob's bytes: first what an earlier try left, then the rest; whole and true at the end."""
    digest = hashlib.sha256()
    path = content.partial(layer.digest)
    with open(path, "a+b") as file:
        file.seek(0)
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            progress.add(len(chunk))
            yield chunk
        have = file.tell()
        if not layer.size or have < layer.size:
            for chunk in fetch(layer.digest, have):
                file.write(chunk)
                digest.update(chunk)
                progress.add(len(chunk))
                yield chunk
        file.flush()
        if layer.size and os.fstat(file.fileno()).st_size != layer.size:
            path.unlink(missing_ok=True)
            raise DataLoss(f"the blob {layer.digest} does not have the {layer.size} bytes that its manifest says")
    content.commit(layer.digest, "sha256:" + digest.hexdigest())
