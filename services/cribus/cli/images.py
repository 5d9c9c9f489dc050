"""List images, a line a name."""

import argparse
from typing import Any

from cribus.api import images
from cribus.api.cri.image import Image, ListImagesRequest
from cribus.bus.service import Bus
from cribus.cli.output.table import short, show, size
from cribus.cli.session import ask

COLUMNS = ("image", "id", "size")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="whole ids only")
    parser.add_argument("--json", action="store_true")


def command(given: argparse.Namespace) -> int:
    async def conversation(bus: Bus) -> int:
        found = (await bus.call(images.LIST, ListImagesRequest())).images
        if given.quiet:
            print("".join(f"{one.id}\n" for one in found), end="")
        elif given.json:
            show([one_image(image) for image in found], (), as_json=True)
        else:
            show(sorted((row for image in found for row in rows(image)), key=_by_name), COLUMNS, as_json=False)
        return 0

    return ask(conversation)


def _by_name(row: dict[str, Any]) -> str:
    return str(row["image"])


def rows(image: Image) -> list[dict[str, Any]]:
    """A row a name; one for an image that has none but its digest, or nothing at all."""
    names = image.repo_tags or image.repo_digests or ["<none>"]
    return [{"image": name, "id": short(image.id), "size": size(image.size)} for name in names]


def one_image(image: Image) -> dict[str, Any]:
    return {
        "id": image.id,
        "tags": image.repo_tags,
        "digests": image.repo_digests,
        "size": image.size,
        "pinned": image.pinned,
    }
