"""The image service's part in checkpoints: a container's changes to its image, and archives."""

import logging
from typing import Any

from msgspec import to_builtins

from cribus.api.images import Capture, Fill, Pack, PackPod, Unpack
from cribus.api.verb import Empty
from cribus.errors import CribusError, InvalidArgument
from cribus.images import manifest, worker
from cribus.images.node import Node
from cribus.images.store import Image

# As buildah is told to write them for containerd and CRI-O.
_ANNOTATIONS = ("org.criu.checkpoint.container.name", "io.kubernetes.cri-o.annotations.checkpoint.name")
_logger = logging.getLogger(__name__)
_PARCEL = "cribus.images.parcel:main"


async def capture(node: Node, request: Capture) -> Empty:
    """Write down what a container has changed. Raises NotFound."""
    upper = node.snapshots.upper(request.container)
    await _have(node, {"do": "capture", "upper": upper, "path": request.path})
    return Empty()


async def pack(node: Node, request: Pack) -> Empty:
    """Make an archive of a folder. Raises what its place refuses."""
    await _have(node, {"do": "pack", **to_builtins(request)})
    return Empty()


async def pack_pod(node: Node, request: PackPod) -> Empty:
    """Make an archive of each container of a pod. Raises what their place refuses; nothing is left there then."""
    asked = {"folder": request.folder, "location": request.location}
    try:
        await _have(node, {"do": "pack_pod", **asked, "logs": request.logs, "until": request.until})
    except BaseException:
        try:
            await _have(node, {"do": "unpack_pod", **asked})
        except (CribusError, OSError) as error:  # what is told is why it failed in the first place
            _logger.error("archives are left", extra={"location": request.location, "cause": str(error)})
        raise
    return Empty()


async def unpack(node: Node, request: Unpack) -> Empty:
    """The files of a checkpoint. Raises InvalidArgument for what is none, NotFound, DataLoss."""
    path = request.location if request.location.startswith("/") else _blob(node, request.location)
    limit = node.settings.max_layer_size
    await _have(node, {"do": "unpacked", "location": path, "folder": request.folder, "limit": limit})
    return Empty()


def _blob(node: Node, name: str) -> str:
    """The one layer of an image that is a checkpoint."""
    image = node.store.need(name)
    if not is_one(node, image) or len(image.layers) != 1:
        raise InvalidArgument(f"image {name} is not the checkpoint of a container")
    return str(node.content.path(image.layers[0].digest))


def is_one(node: Node, image: Image) -> bool:
    """Whether an image says of itself that a container was written down in it."""
    told = manifest.document(node.content.read(image.manifest), "the manifest").get("annotations")
    return isinstance(told, dict) and any(name in told for name in _ANNOTATIONS)


async def fill(node: Node, request: Fill) -> Empty:
    """What a container had changed, as any layer is unpacked. Raises NotFound, InvalidArgument, DataLoss."""
    upper = node.snapshots.upper(request.container)
    limit = node.settings.max_layer_size
    await _have(node, {"do": "fill", "path": request.path, "upper": upper, "limit": limit})
    return Empty()


async def _have(node: Node, request: dict[str, Any]) -> tuple[int, int]:
    """Done by a worker, which may hang without harm to anybody else."""
    return await worker.answer(await worker.begin(node.spawn, _PARCEL, request, []))
