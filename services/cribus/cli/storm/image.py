"""The storm's image: busybox from this host, as a node's first run has it, under a name and an id of its own, so
that nobody else's image is touched when it goes.
"""

from cribus.api import images
from cribus.api.cri.image import ImageSpec, RemoveImageRequest
from cribus.bus.service import Bus
from cribus.images import starter

REFERENCE = "localhost/cribus-chaos:latest"
_BUSYBOX = "/bin/busybox"
_LOADING = 60.0  # seconds


def write(path: str) -> None:
    """The image as a file that a node can load. Raises FailedPrecondition without busybox-static."""
    config = {"Cmd": ["sh"], "Env": ["PATH=/usr/bin:/bin"], "Labels": {"cribus.chaos": "yes"}}
    starter.write_layout(path, [starter.of_host(_BUSYBOX)], config, REFERENCE)


async def load(bus: Bus, folder: str) -> None:
    """Let the node have it."""
    path = f"{folder}/image.tar"
    write(path)
    await bus.call(images.LOAD, images.Load(path=path), timeout=_LOADING)


async def remove(bus: Bus) -> None:
    await bus.call(images.REMOVE, RemoveImageRequest(image=ImageSpec(image=REFERENCE)), timeout=_LOADING)
