"""What the image service knows: its stores, its settings, and the work that is under way."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from cribus.api.events import Event
from cribus.api.images import Progress
from cribus.config import Images
from cribus.images.content import Content
from cribus.images.snapshots import Snapshots, tree_usage
from cribus.images.store import Image, Store

_logger = logging.getLogger(__name__)
Tell = Callable[[str, Progress], Awaitable[None]]


class Node:
    """The image service's state. Everything that counts is on disk."""

    def __init__(self, settings: Images, root: Path, publish: Callable[[Event], Awaitable[None]], tell: Tell) -> None:
        self.settings = settings
        self.root = root
        self.publish = publish
        self.tell = tell
        self.content = Content(root)
        self.snapshots = Snapshots(root)
        self.store = Store(root)
        self.layers = asyncio.Semaphore(settings.concurrent_layers)
        self.pulls: dict[str, asyncio.Task[str]] = {}
        self.unpacking: dict[str, asyncio.Task[None]] = {}
        self.usage = (0, 0)  # (bytes, inodes) of the store, refreshed by whatever changes it

    def open(self) -> None:
        """Away with leftovers; count what is there."""
        self.snapshots.clean()
        self.collect()

    def collect(self) -> None:
        """Delete layers and blobs that no image and no container uses. Blocking: for a thread.

        Not while a pull runs: its layers belong to no image yet.
        """
        if not self.pulls and not self.unpacking:
            images = list(self.store.images.values())
            used = {self.snapshots.layer(layer.diff_id).name for image in images for layer in image.layers}
            for known in self.snapshots.in_use().values():
                diff_ids = known.get("diff_ids", [])
                used |= {self.snapshots.layer(one).name for one in diff_ids} if isinstance(diff_ids, list) else set()
            for name in self.snapshots.known():
                if name not in used:
                    self.snapshots.delete_layer(name)
            blobs = {layer.digest for image in images for layer in image.layers}
            blobs |= {one for image in images for one in (image.id, image.manifest)}
            for digest in self.content.digests():
                if digest not in blobs:
                    self.content.delete(digest)
            self.snapshots.empty_trash()
        self.count()

    def count(self) -> None:
        """Measure the store anew. Blocking: for a thread."""
        self.usage = tree_usage(self.root)

    def lower(self, image: Image) -> list[Path]:
        """The image's layers as overlayfs wants them, top first; an image may name one twice."""
        paths = [self.snapshots.layer(layer.diff_id) for layer in reversed(image.layers)]
        return list(dict.fromkeys(paths))
