"""What the image service knows: its stores, its settings, and the work that is under way.

Everything here runs on the event loop's thread, which is what makes deciding that nobody uses a layer,
and having it gone, one step.
"""

import asyncio
import contextlib
import logging
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from cribus.api.events import IMAGE_REMOVED, Event
from cribus.api.images import Progress
from cribus.config import Images
from cribus.images.content import Content
from cribus.images.snapshots import Snapshots, Usage
from cribus.images.store import Image, Removed, Store
from cribus.images.trash import Trash
from cribus.steps import Step

if TYPE_CHECKING:
    from cribus.images.worker import Spawn

Tell = Callable[[str, Progress], Awaitable[None]]
_logger = logging.getLogger(__name__)
_NOTED = Step("images.remove.noted")
_TOLD = Step("images.remove.told")
_COUNTED = 10.0  # seconds for which a count of what containers have written holds
_GRACE = 3600.0  # seconds for which what an interrupted pull has brought waits for the next one


class Bus:
    """What the service says to others, and the processes that it may start."""

    def __init__(self, publish: Callable[[Event], Awaitable[None]], tell: Tell, spawn: "Spawn") -> None:
        self.publish = publish
        self.tell = tell
        self.spawn = spawn


class Node:
    """The image service's state. Everything that counts is on disk."""

    quiet = 40.0  # seconds that new layers are left to the kernel (vm.dirty_expire_centisecs: 30)

    def __init__(self, settings: Images, root: Path, bus: Bus) -> None:
        self.settings = settings
        self.root = root
        self.publish = bus.publish
        self.tell = bus.tell
        self.spawn = bus.spawn
        self.trash = Trash(root / "trash")
        self.content = Content(root)
        self.snapshots = Snapshots(root, self.trash)
        self.store = Store(root)
        self._counting = asyncio.Lock()
        self._written = (Usage(0, 0), 0)
        self._counted = -_COUNTED  # when, by the monotonic clock
        self.menders = asyncio.Semaphore(2)
        self.pulls: dict[object, asyncio.Task[str]] = {}
        self.bringing: dict[str, asyncio.Task[None]] = {}  # by diff id and by digest
        self.pinned: list[Image] = []  # of pulls that are under way: in no store yet
        self.mending: dict[str, asyncio.Task[None]] = {}  # by image id
        self.settled = asyncio.Event()  # no writing of layers to the disk is under way
        self.settled.set()

    def open(self) -> None:
        """See what is there; away with leftovers."""
        self.snapshots.open()
        self.content.clean()
        self.tidy()

    def tidy(self) -> None:
        """Away with what is nobody's, but for what a pull that just broke off may come back for."""
        self.content.clean(_GRACE)  # others are just being written
        layers = [one for one in self.snapshots.layers if self.snapshots.age(one) > _GRACE]
        blobs = [one for one in self.content.sizes if self.content.age(one) > _GRACE]
        self._drop(layers, blobs)

    def settle(self) -> None:
        """Have the newest layers written to the disk, when the kernel has done most of it unasked: until
        then a loss of power means that they are unpacked again."""
        if self.snapshots.fresh and self.settled.is_set():
            self.settled.clear()
            asyncio.get_running_loop().call_later(self.quiet, self._settle)

    def _settle(self) -> None:
        args = (asyncio.get_running_loop(), dict(self.snapshots.fresh))
        threading.Thread(target=self._sync, args=args, name="sync", daemon=True).start()

    def _sync(self, loop: asyncio.AbstractEventLoop, fresh: dict[str, object]) -> None:
        """In a program of its own, in a thread of its own: nobody knows how long a disk takes, and the
        service may end meanwhile."""
        argv = ["sync", "--file-system", str(self.root)]
        try:
            ended = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True)
            failure = ended.stderr.decode(errors="replace") if ended.returncode else ""
        except OSError as error:
            failure = str(error)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._synced, fresh, failure)

    def _synced(self, fresh: dict[str, object], failure: str) -> None:
        self.settled.set()
        if failure:  # tried again after the next pull
            _logger.error("layers cannot be written to the disk", extra={"cause": failure})
            return
        self.snapshots.synced(fresh)
        self.settle()

    async def remove(self, image: Image) -> None:
        """An image, everything that only it has, and the news of it."""
        with _NOTED.of(image.id):
            await self.store.remove(image.id)
        await self._finish(self.store.removed[image.id])

    async def finish_removals(self) -> None:
        """That another process has begun."""
        for removed in list(self.store.removed.values()):
            await self._finish(removed)

    async def _finish(self, removed: Removed) -> None:
        image, at = removed
        self.forget([image])
        with _TOLD.of(image.id):
            await self.publish(Event(kind=IMAGE_REMOVED, id=image.id, at=at))
        self.store.forget(image.id)

    def forget(self, images: Iterable[Image]) -> None:
        """Delete the layers and blobs of images that are gone, as far as nobody else uses them."""
        layers, blobs = _parts(images)
        self._drop(layers, blobs)

    def discard(self, container: str) -> None:
        """Away with a container's writable layer, and with layers that only it has used."""
        known = self.snapshots.discard(container).get("diff_ids")
        self._drop(known if isinstance(known, list) else [], [])

    def _drop(self, layers: Iterable[str], blobs: Iterable[str]) -> None:
        used_layers, used_blobs = _parts([*self.store.images.values(), *self.pinned])
        for known in self.snapshots.containers.values():
            diff_ids = known.get("diff_ids")
            used_layers |= set(diff_ids) if isinstance(diff_ids, list) else set()
        for diff_id in set(layers) - used_layers:
            self.snapshots.drop(diff_id)
        for digest in set(blobs) - used_blobs:
            self.lose(digest)

    def lose(self, digest: str) -> None:
        """Delete a blob. Idempotent."""
        self.trash.take(self.content.path(digest))
        self.content.note(digest)

    def usage(self) -> Usage:
        """Of blobs and layers together, from what is remembered."""
        layers = self.snapshots.layers.values()
        size = sum(self.content.sizes.values()) + sum(one.bytes for one in layers)
        return Usage(size, len(self.content.sizes) + sum(one.inodes for one in layers))

    async def written(self) -> tuple[Usage, int]:
        """What all containers have written, and when that was counted (ns): at most 10 s ago."""
        async with self._counting:
            if time.monotonic() > self._counted + _COUNTED:
                used = await asyncio.to_thread(self.snapshots.written)
                self._written, self._counted = (used, time.time_ns()), time.monotonic()
        return self._written

    def lower(self, image: Image) -> list[str]:
        """The image's layers as overlayfs wants them, top first."""
        return [self.snapshots.path(one) for one in reversed(image.stacked())] or [self.snapshots.nothing()]


def _parts(images: Iterable[Image]) -> tuple[set[str], set[str]]:
    """(layers, blobs) that images are made of."""
    layers: set[str] = set()
    blobs: set[str] = set()
    for image in images:
        layers.update(image.stacked(), (layer.diff_id for layer in image.layers))
        blobs.update((image.id, image.manifest), (layer.digest for layer in image.layers))
    return layers, blobs
