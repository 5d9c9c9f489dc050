"""One layer on its way, in a worker process: bytes are hashed, kept, inflated, hashed again and written,
all in one pass. Memory holds a few chunks, whatever the layer's size.

A second thread is ahead of the writer: it reads and inflates, which leaves the interpreter free. A third
hashes.
Loads no httpx, no asyncio and no msgspec: a worker is a small process.
"""

import contextlib
import fcntl
import json
import os
import queue
import threading
from collections.abc import Iterator
from typing import NamedTuple

from cribus.errors import DataLoss, InvalidArgument
from cribus.images.aside import Digests, Sha256
from cribus.images.inflate import inflate
from cribus.images.shortage import explained
from cribus.images.tarstream import Chunks
from cribus.images.unpack import Unpacked, unpack
from cribus.steps import Step

_CHUNK = 1 << 20
_AHEAD = 4  # chunks between the two threads
_EARLY = 8 << 20  # bytes
_BLOB = Step("worker.pull.blob-renamed")
_UNPACK = Step("worker.pull.unpacked")


class Job(NamedTuple):
    """What is to be done with the bytes of a descriptor."""

    digest: str
    diff_id: str
    size: int  # of the blob; 0: unknown
    limit: int  # bytes of the plain layer
    blob: str  # path that the finished blob gets
    partial: str  # path where it grows; empty: the descriptor is the blob itself
    begun: int  # bytes that the partial blob has
    folder: str  # where `fs` is; empty: only the blob is wanted


class Short(DataLoss):
    """The bytes ended early; what came is good."""


def bring(job: Job, fd: int) -> Unpacked:
    """Do it. Raises DataLoss when a digest does not hold, InvalidArgument for a layer that no image may have,
    ResourceExhausted when the disk is full.

    What the layer leaves to those below it is written to the folder's `below` (below.py).
    After an error the reading thread may still wait for `fd`: end the process.
    """
    stop = threading.Event()
    digests = Digests()
    try:
        source = _kept(job, fd, digests.new()) if job.partial else _read(fd)
        if job.folder:
            return _unpacked(job, source, digests.new(), stop)
        return _drained(source)
    except (DataLoss, InvalidArgument) as error:
        if job.partial and not isinstance(error, Short):  # going on from these bytes would fail in the same way
            with contextlib.suppress(FileNotFoundError):
                os.unlink(job.partial)
        raise
    except OSError as error:
        raise explained(error, "the layer cannot be stored") from error
    finally:
        stop.set()
        digests.close()


def _drained(source: Iterator[bytes]) -> Unpacked:
    for _ in source:
        pass
    return Unpacked()


def _read(fd: int) -> Iterator[bytes]:
    while chunk := os.read(fd, _CHUNK):
        yield chunk


def _kept(job: Job, fd: int, digest: Sha256) -> Iterator[bytes]:
    """The blob's bytes: first what an earlier try left, then the descriptor's; whole and true at the end.

    What came stays in the partial file for the next try, unless it is wrong.
    """
    early = 0  # bytes that are on their way to the disk, so that the sync at the end has little to wait for
    with open(job.partial, "a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # a worker of a service that was just killed may not have ended yet
        file.seek(0)
        for chunk in _read(file.fileno()):
            digest.update(chunk)
            yield chunk
        have = file.tell()
        if have != job.begun:
            raise DataLoss(f"the beginning of {job.digest} has {have} bytes where {job.begun} were counted")
        for chunk in _read(fd):
            _write(file.fileno(), chunk)
            have += len(chunk)
            if job.size and have > job.size:
                break
            digest.update(chunk)
            if have - early >= _EARLY:
                os.posix_fadvise(file.fileno(), early, have - early, os.POSIX_FADV_DONTNEED)
                early = have
            yield chunk
        if job.size and have < job.size:
            raise Short(f"{job.digest} broke off after {have} of {job.size} bytes; pull again, it goes on from there")
        found = digest.digest()
        if found != job.digest or (job.size and have != job.size):
            raise DataLoss(f"content has digest {found}, not {job.digest}; the registry lies or is broken, pull again")
        os.fsync(file.fileno())
        with _BLOB.of(job.digest):
            os.rename(job.partial, job.blob)


def _write(fd: int, chunk: bytes) -> None:
    """All of it: a disk that gets full takes a part, and refuses the rest."""
    view = memoryview(chunk)
    while view:
        view = view[os.write(fd, view) :]


def _unpacked(job: Job, source: Iterator[bytes], plain: Sha256, stop: threading.Event) -> Unpacked:
    def hashed() -> Iterator[bytes]:
        try:
            for chunk in inflate(source, job.limit):
                plain.update(chunk)
                yield chunk
        except DataLoss:
            for _ in source:  # where the blob is another, that is the cause, and is raised here
                pass
            raise
        for _ in source:  # what stands behind the last member belongs to the blob's digest
            pass

    with _UNPACK.of(job.digest):
        made = unpack(Chunks(_ahead(hashed(), stop)), f"{job.folder}/fs")
    found = plain.digest()
    if found != job.diff_id:
        raise DataLoss(f"the layer's content has digest {found}, the image's config says {job.diff_id}")
    if made.folders or made.links:
        with open(f"{job.folder}/below", "w") as file:
            json.dump({"folders": made.folders, "links": made.links}, file)
    return made


def _ahead(source: Iterator[bytes], stop: threading.Event) -> Iterator[bytes]:
    """The same chunks, made by a thread of their own a little ahead of their reader."""
    made: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)

    def put(one: bytes | BaseException | None) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                made.put(one, timeout=0.2)
                return

    def run() -> None:
        try:
            for chunk in source:
                put(chunk)
                if stop.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - whatever it is, the reader raises it
            put(error)
        else:
            put(None)

    threading.Thread(target=run, name="inflate", daemon=True).start()
    while (one := made.get()) is not None:
        if isinstance(one, BaseException):
            raise one
        yield one
