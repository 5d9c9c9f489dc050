"""Fetch an image from its registry, with a progress bar a layer."""

import argparse
import json

from cribus.api import images
from cribus.api.cri.image import AuthConfig, ImageSpec
from cribus.api.cri.sandbox import PullImageRequest
from cribus.bus.service import Bus
from cribus.cli.output import progress
from cribus.cli.session import ask

TIMEOUT = 3600.0
ANNOTATION = "cribus.pull"  # asks the image service for progress under this id


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("--creds", default="", metavar="USER:PASSWORD")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    parser.add_argument("--json", action="store_true")


def command(given: argparse.Namespace) -> int:
    async def conversation(bus: Bus) -> int:
        ref = await pull(bus, given.image, creds=given.creds, quiet=given.quiet)
        print(json.dumps({"image": given.image, "ref": ref}) if given.json else ref)
        return 0

    return ask(conversation)


async def pull(bus: Bus, image: str, *, creds: str = "", quiet: bool = False) -> str:
    """Pull an image: its reference by digest."""
    user, _, password = creds.partition(":")
    auth = AuthConfig(username=user, password=password) if creds else None
    async with progress.shown(bus, quiet=quiet) as id:
        wanted = PullImageRequest(image=ImageSpec(image=image, annotations={ANNOTATION: id}), auth=auth)
        return (await bus.call(images.PULL, wanted, timeout=TIMEOUT)).image_ref
