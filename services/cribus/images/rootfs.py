"""Root filesystems: a container's writable layer over an image's layers."""

import asyncio
import os
import time
from functools import lru_cache
from typing import NamedTuple

from cribus.api.cri.stats import FilesystemIdentifier, FilesystemUsage
from cribus.api.images import Discard, Prepare, Prepared, Usage
from cribus.api.verb import Empty
from cribus.errors import InvalidArgument, NotFound
from cribus.images import checkpoint, mend, merged
from cribus.images.listing import config_of
from cribus.images.node import Node
from cribus.images.store import Image


async def prepare(node: Node, request: Prepare) -> Prepared:
    """A container's writable layer. Idempotent. Raises NotFound when the image is not here, or has no such
    directory."""
    if not request.container.isalnum():
        raise InvalidArgument(f"{request.container!r} is no container id")
    await mend.until_whole(node, node.store.need(request.image).id)
    image = node.store.need(request.image)
    lower = _below(node.lower(image), request)
    known: dict[str, object] = {"image": image.id, "diff_ids": image.stacked()}
    upper, work = node.snapshots.prepare(request.container, known, os.stat(lower[0]))
    names = [one for one in node.store.names(image.id) if "@" in one]
    read = _read(node, image)
    return Prepared(
        lower=lower,
        upper=upper,
        work=work,
        image_id=image.id,
        image_ref=names[0] if names else image.id,
        config=read.config,
        passwd=read.passwd,
        group=read.group,
        checkpoint=read.is_checkpoint,
        volumes=read.volumes,
        below=request.below,
    )


def _below(lower: list[str], request: Prepare) -> list[str]:
    if not request.below:
        return lower
    found = merged.directories(lower, request.below)
    if not found:
        raise NotFound(f"image {request.image} has no directory {request.below}")
    return found


class _Read(NamedTuple):
    """What is read of an image itself (api/images.py, `Prepared`)."""

    config: dict[str, object]
    passwd: bytes
    group: bytes
    is_checkpoint: bool
    volumes: dict[str, list[str]]


def _read(node: Node, image: Image) -> _Read:
    """An image never changes, so once is enough."""
    return _cached(_Key(node, image))


class _Key:
    """An image by its id, with the node to read it from."""

    __slots__ = ("image", "node")

    def __init__(self, node: Node, image: Image) -> None:
        self.node = node
        self.image = image

    def __hash__(self) -> int:
        return hash(self.image.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and (self.node, self.image.id) == (other.node, other.image.id)


@lru_cache(maxsize=64)
def _cached(key: _Key) -> _Read:
    inner = config_of(key.node, key.image).get("config")
    config = inner if isinstance(inner, dict) else {}
    lower = key.node.lower(key.image)
    passwd, group = (merged.read(lower, path) for path in ("etc/passwd", "etc/group"))
    declared = config.get("Volumes")
    volumes = {str(path): merged.directories(lower, str(path)) for path in declared} if declared else {}
    return _Read(config, passwd, group, checkpoint.is_one(key.node, key.image), volumes)


async def discard(node: Node, request: Discard) -> Empty:
    """Remove a container's writable layer. Idempotent."""
    if not request.container.isalnum():  # an empty one would mean the directory of them all
        raise InvalidArgument(f"{request.container!r} is no container id")
    node.discard(request.container)
    return Empty()


async def usage(node: Node, request: Usage) -> FilesystemUsage:
    """What a container has written. Raises NotFound."""
    used, inodes = await asyncio.to_thread(node.snapshots.usage, request.container)
    return FilesystemUsage(
        timestamp=time.time_ns(),
        fs_id=FilesystemIdentifier(mountpoint=str(node.root)),
        used_bytes=used,
        inodes_used=inodes,
    )
