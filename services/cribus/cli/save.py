"""Export images to a tar file that is both an OCI layout and a docker archive."""

import argparse
import os

from cribus.api import images
from cribus.bus.service import Bus
from cribus.cli.session import ask

TIMEOUT = 3600.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", nargs="+", metavar="IMAGE")
    parser.add_argument("-o", "--output", required=True, metavar="FILE")


def command(given: argparse.Namespace) -> int:
    wanted = images.Save(references=given.image, path=os.path.abspath(given.output))

    async def conversation(bus: Bus) -> int:
        await bus.call(images.SAVE, wanted, timeout=TIMEOUT)
        return 0

    return ask(conversation)
