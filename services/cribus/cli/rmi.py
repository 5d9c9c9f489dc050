"""Remove images, by name, digest or id."""

import argparse

from cribus.api import images
from cribus.api.cri.image import ImageSpec, ImageStatusRequest, ListImagesRequest, RemoveImageRequest
from cribus.bus.service import Bus
from cribus.cli.session import ask
from cribus.errors import InvalidArgument, NotFound


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", nargs="*", metavar="IMAGE")
    parser.add_argument("-a", "--all", action="store_true", help="every image that no container uses")


def command(given: argparse.Namespace) -> int:
    if bool(given.image) == given.all:
        raise InvalidArgument("name images, or say --all")

    async def conversation(bus: Bus) -> int:
        names = given.image
        if given.all:
            names = [one.id for one in (await bus.call(images.LIST, ListImagesRequest())).images if not one.pinned]
        for name in names:
            if (await bus.call(images.STATUS, ImageStatusRequest(image=ImageSpec(image=name)))).image is None:
                raise NotFound(f"there is no image {name}; `cribus images` lists them")
            await bus.call(images.REMOVE, RemoveImageRequest(image=ImageSpec(image=name)), timeout=120.0)
            print(name)
        return 0

    return ask(conversation)
