"""Import images from a file or folder: an OCI layout or a docker archive."""

import argparse
import os

from cribus.api import images
from cribus.bus.service import Bus
from cribus.cli.session import ask

TIMEOUT = 3600.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="a tar file (also compressed) or a folder of this host")
    parser.add_argument("-n", "--name", default="", help="name for an image that carries none")


def command(given: argparse.Namespace) -> int:
    path = os.path.abspath(given.path)
    os.stat(path)

    async def conversation(bus: Bus) -> int:
        loaded = await bus.call(images.LOAD, images.Load(path=path, reference=given.name), timeout=TIMEOUT)
        print("\n".join(loaded.references))
        return 0

    return ask(conversation)
