"""The storm's images, all of busybox from this host, as a node's first run has it: one that is loaded, and those that
are pulled, which have files of their own and their sums. Each has a name and an id of its own, so that nobody else's
image is touched when it goes.
"""

import functools
import hashlib
import io
import random
import tarfile
from typing import NamedTuple

from cribus.api import images
from cribus.api.cri.image import ImageSpec, RemoveImageRequest
from cribus.bus.service import Bus
from cribus.cli.storm.plan import CONFIG, MANIFEST, SUMS, Pull
from cribus.images import starter

REFERENCE = "localhost/cribus-chaos:latest"
_BUSYBOX = "/bin/busybox"
_LOADING = 60.0  # seconds


class Part(NamedTuple):
    """Of an image, as a registry has it: what it is for, and its digest."""

    kind: str
    digest: str
    data: bytes


class Made(NamedTuple):
    """An image to be pulled. `kind` is its manifest's, `own` are digests of what no other image has."""

    id: str
    kind: str
    parts: list[Part]
    own: set[str]


@functools.cache
def _base() -> starter.Packed:
    """Raises FailedPrecondition without busybox-static."""
    return starter.pack(starter.of_host(_BUSYBOX))


def _config(**labels: str) -> dict[str, object]:
    return {"Cmd": ["sh"], "Env": ["PATH=/usr/bin:/bin"], "Labels": {"cribus.chaos": "yes", **labels}}


def write(path: str) -> None:
    """The loaded one as a file that a node can load. Raises FailedPrecondition without busybox-static."""
    starter.write_layout(path, [_base()], _config(), REFERENCE)


async def load(bus: Bus, folder: str) -> None:
    """Let the node have it."""
    path = f"{folder}/image.tar"
    write(path)
    await bus.call(images.LOAD, images.Load(path=path), timeout=_LOADING)


async def remove(bus: Bus) -> None:
    await bus.call(images.REMOVE, RemoveImageRequest(image=ImageSpec(image=REFERENCE)), timeout=_LOADING)


def make(seed: str, pull: Pull) -> Made:
    """One that is pulled: over busybox a layer for each size, of bytes from the seed alone."""
    draw = random.Random(f"{seed}/image")
    files = {f"data/{number}": draw.randbytes(size) for number, size in enumerate(pull.layers)}
    layers = [starter.pack(_tar({name: data})) for name, data in files.items()]
    sums = starter.pack(_tar({SUMS.removeprefix("/"): _sums(files)}))
    image = starter.image([_base(), *layers, sums], _config(seed=seed))
    kinds = {one.digest: str(number) for number, one in enumerate(layers)}
    kinds |= {image.id: CONFIG, image.manifest: MANIFEST}
    parts = [Part(kinds.get(digest, ""), digest, data) for digest, data in image.blobs.items()]
    own = {digest for one in (*layers, sums) for digest in (one.diff_id, one.digest)}
    return Made(image.id, starter.MANIFEST, parts, own | {image.id, image.manifest})


def _sums(files: dict[str, bytes]) -> bytes:
    """As sha256sum(1) checks them."""
    rows = [f"{hashlib.sha256(data).hexdigest()}  /{name}\n" for name, data in files.items()]
    return "".join(rows).encode()


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
