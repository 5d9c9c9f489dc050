"""The layers of an image, fetched and unpacked side by side, each by a worker process.

A layer that two images want at once is brought once: the second waits for the first, and tries itself if
that one fails.
"""

import asyncio
import fcntl
import functools
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from cribus.api.images import Progress as Word
from cribus.errors import CribusError, DataLoss, InvalidArgument
from cribus.images import worker
from cribus.images.layer import Job
from cribus.images.node import Node
from cribus.images.snapshots import Usage
from cribus.images.store import Image, Layer

Fetch = Callable[[str, int, int], Iterator[bytes]]  # (digest, offset, size) → the blob's bytes from there on
P = ParamSpec("P")
T = TypeVar("T")
_PIPE = 1 << 20  # bytes on the way to a worker
_TRIES = 3  # workers for one layer, where they are killed
_TELL = 0.1  # seconds between two words on progress


class Source:
    """Where an image's blobs come from, and who wants to be told how far they are. Close it after use.

    Workers and threads are its own: a registry that says nothing delays what waits for it, and nobody else.
    """

    def __init__(self, fetch: Fetch, stop: Callable[[], None], told: str = "", abreast: int = 3) -> None:
        self.fetch = fetch
        self.stop = stop  # ends every fetch, soon
        self.told = told
        self.workers = asyncio.Semaphore(abreast)
        self._threads = ThreadPoolExecutor(abreast + 1, thread_name_prefix="fetch")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Something that waits for the registry."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, functools.partial(function, *args, **kwargs))

    def close(self) -> None:
        self.stop()
        self._threads.shutdown(wait=False)


async def layers(node: Node, image: Image, source: Source) -> None:
    """Every layer of the image; those that are there already cost nothing.

    Raises the first failure; the others are ended then.
    """
    wanted = {(layer.diff_id, layer.digest): layer for layer in image.layers}
    tasks = [asyncio.ensure_future(_there(node, layer, source)) for layer in wanted.values()]
    if not tasks:
        return
    try:
        done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        if any(not task.done() or task.exception() for task in tasks):
            source.stop()
    failures = [error for task in done if (error := task.exception())]
    if rest:
        await asyncio.wait(rest)
    if failures:
        raise failures[0]


async def _there(node: Node, layer: Layer, source: Source) -> None:
    word = _Teller(node, layer, source.told)
    stage = "present"
    while not (node.snapshots.has(layer.diff_id) and node.content.has(layer.digest)):
        stage = "done"
        task = node.bringing.get(layer.diff_id) or node.bringing.get(layer.digest)
        if task is None:
            task = asyncio.ensure_future(_brought(node, layer, source, word))
            _announce(node, layer, task)
            await asyncio.shield(task)
        else:
            await asyncio.wait([task])  # its failure is that of another image
    await word.say(stage, layer.size)


def _announce(node: Node, layer: Layer, task: asyncio.Task[None]) -> None:
    for key in (layer.diff_id, layer.digest):
        node.bringing[key] = task

    def over(done: asyncio.Task[None]) -> None:
        for key in (layer.diff_id, layer.digest):
            node.bringing.pop(key, None)  # of a plain layer both are one
        if not done.cancelled():
            done.exception()  # told to whoever waited; without a waiter it is no defect

    task.add_done_callback(over)


async def _brought(node: Node, layer: Layer, source: Source, word: "_Teller") -> None:
    await word.say("waiting", 0)
    async with source.workers:
        tries = 0
        while True:
            tries += 1
            begun = node.content.begun(layer.digest)
            try:
                return await _tried(node, layer, source, word)
            except worker.Died:
                if tries == _TRIES:
                    raise
            except (DataLoss, InvalidArgument):
                # What an earlier try has left may be the cause: damaged by a loss of power, or by another
                # registry. The worker has deleted it.
                if tries == _TRIES or not begun or node.content.begun(layer.digest):
                    raise


async def _tried(node: Node, layer: Layer, source: Source, word: "_Teller") -> None:
    """By one worker. Raises worker.Died when it was killed."""
    content, snapshots = node.content, node.snapshots
    folder = None if snapshots.has(layer.diff_id) else snapshots.new()
    begun = content.begun(layer.digest)
    job = Job(
        digest=layer.digest,
        diff_id=layer.diff_id,
        size=layer.size,
        limit=node.settings.max_layer_size,
        blob=str(content.path(layer.digest)),
        partial="" if content.has(layer.digest) else str(content.partial(layer.digest)),
        begun=begun,
        folder=str(folder or ""),
    )
    try:
        fed = job.partial and (begun < layer.size or not layer.size)
        chunks = source.fetch(layer.digest, begun, layer.size) if fed else iter(())
        usage = await _worked(node, job, lambda feed: source.run(_feed, feed, chunks, word))
    except BaseException:
        if folder:
            snapshots.abandon(folder)
        raise
    finally:
        content.note(layer.digest)
    if folder:
        snapshots.commit(folder, layer.diff_id, usage)


async def _worked(node: Node, job: Job, feeding: Callable[[int], Coroutine[Any, Any, None]]) -> Usage:
    """Have a worker do the job while it is fed. Of two failures the registry's is the cause."""
    if job.partial:
        blob, feed = os.pipe()
        fcntl.fcntl(feed, fcntl.F_SETPIPE_SZ, _PIPE)
    else:
        blob, feed = os.open(job.blob, os.O_RDONLY | os.O_CLOEXEC), -1
    try:
        started = await worker.start(node.spawn, job, blob)
    except BaseException:
        if feed >= 0:
            os.close(feed)
        raise
    finally:
        os.close(blob)
    fed = asyncio.ensure_future(feeding(feed))
    try:
        size, inodes = await worker.answer(started)
    finally:
        await asyncio.wait([fed])
        await fed
    return Usage(size, inodes)


def _feed(feed: int, chunks: Iterator[bytes], word: "_Teller") -> None:
    """Write a blob's bytes to a worker. Raises CribusError of the registry."""
    if feed < 0:
        return
    try:
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                view = view[os.write(feed, view) :]
            word.fetched(len(chunk))
    except BrokenPipeError:
        return  # the worker has ended, and says why itself
    finally:
        os.close(feed)


class _Teller:
    """Says how far a layer is, if anyone asked to be told."""

    def __init__(self, node: Node, layer: Layer, told: str) -> None:
        self._node = node
        self._layer = layer
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._last = 0.0
        self._done = 0

    async def say(self, stage: str, done: int) -> None:
        if self._told:
            word = Word(layer=self._layer.digest, stage=stage, done=done, total=self._layer.size)
            await self._node.tell(self._told, word)

    def fetched(self, count: int) -> None:
        """Count bytes and tell now and then; from a thread."""
        self._done += count
        now = time.monotonic()
        if self._told and now - self._last >= _TELL:
            self._last = now
            saying: Coroutine[Any, Any, None] = self.say("fetching", self._done)
            asyncio.run_coroutine_threadsafe(saying, self._loop)


def undo(node: Node, image: Image, error: BaseException) -> None:
    """What a failed pull leaves: what the next try can go on with, if there is any sense in one."""
    if isinstance(error, CribusError) and error.code in ("UNAVAILABLE", "ABORTED"):
        return
    node.forget([image])
    for layer in image.layers:
        if layer.digest not in node.bringing:
            node.content.partial(layer.digest).unlink(missing_ok=True)
