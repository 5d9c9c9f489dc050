"""Images that are not whole at the service's start: their layers are made again from their blobs.

Such are images whose layers a machine lost with its power (snapshots.py), and those of a disk that was
repaired. One whose blobs are gone too is removed, so that whoever wants it pulls it again.
"""

import asyncio
import logging
from collections.abc import Iterator

from cribus.errors import CribusError, NotFound
from cribus.images import bring, pull
from cribus.images.node import Node
from cribus.images.store import Image

_logger = logging.getLogger(__name__)


def begin(node: Node) -> None:
    """Look at every image; mend what is not whole, in the background."""
    for image in node.store.images.values():
        if not _whole(node, image):
            _logger.warning("an image is not whole", extra={"image": image.id})
            node.mending[image.id] = asyncio.create_task(_mended(node, image))
    node.settle()


async def until_whole(node: Node, image_id: str) -> None:
    """Wait for an image that is being mended."""
    task = node.mending.get(image_id)
    if task is not None:
        await asyncio.wait([task])


def _whole(node: Node, image: Image) -> bool:
    """Whether all of an image is there. Blobs of another size than they should have go."""
    sizes = node.content.sizes
    for layer in image.layers:
        if layer.size and sizes.get(layer.digest, layer.size) != layer.size:
            node.lose(layer.digest)
    if sizes.get(image.id, 0) + sizes.get(image.manifest, 0) != image.size - sum(one.size for one in image.layers):
        node.lose(image.id)
    blobs = (image.manifest, image.id, *(layer.digest for layer in image.layers))
    return all(map(node.content.has, blobs)) and all(map(node.snapshots.has, image.stacked()))


async def _mended(node: Node, image: Image) -> None:
    source = bring.Source(_nowhere, lambda: None)
    try:
        small = {digest: node.content.read(digest) for digest in (image.manifest, image.id)}
        async with node.menders:
            await pull.keep(node, image, pull.Parts([], small, source))
    except CribusError as error:
        _logger.error("an image is lost; pull it again", extra={"image": image.id, "cause": error.message})
        await node.remove(image)
    finally:
        source.close()
        node.mending.pop(image.id, None)


def _nowhere(digest: str, offset: int, size: int) -> Iterator[bytes]:
    raise NotFound(f"blob {digest} is not in the store")
