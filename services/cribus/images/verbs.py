"""The verbs of the image service, a line each."""

from functools import partial

from cribus.api import images
from cribus.bus.server import Table
from cribus.images import archive, listing, pull, rootfs
from cribus.images.node import Node


def table(node: Node) -> Table:
    """What the image service answers."""
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
    }
