"""The verbs of the image service, a line each."""

from functools import partial
from typing import Any

from cribus.api import images
from cribus.bus.server import Handler, Table
from cribus.images import archive, checkpoint, listing, pull, rootfs
from cribus.images.node import Node
from cribus.images.shortage import explained


def table(node: Node) -> Table:
    """What the image service answers."""
    return {verb: partial(_kindly, handler) for verb, handler in _table(node).items()}


async def _kindly(handler: Handler, request: Any) -> Any:
    """An answer, or a sentence on what the host or its disk lacks."""
    try:
        return await handler(request)
    except OSError as error:
        raise explained(error, "the image store fails") from error


def _table(node: Node) -> Table:
    return {
        images.LIST: partial(listing.list_images, node),
        images.PAGE: partial(listing.page, node),
        images.STATUS: partial(listing.status, node),
        images.REMOVE: partial(listing.remove, node),
        images.FS_INFO: partial(listing.fs_info, node),
        images.PULL: partial(pull.pull, node),
        images.PREPARE: partial(rootfs.prepare, node),
        images.DISCARD: partial(rootfs.discard, node),
        images.USAGE: partial(rootfs.usage, node),
        images.LOAD: partial(archive.load, node),
        images.SAVE: partial(archive.save, node),
        images.CAPTURE: partial(checkpoint.capture, node),
        images.PACK: partial(checkpoint.pack, node),
        images.PACK_POD: partial(checkpoint.pack_pod, node),
        images.UNPACK: partial(checkpoint.unpack, node),
        images.FILL: partial(checkpoint.fill, node),
    }
