"""The image service's part in checkpoints: a container's changes to its image, and archives."""

from typing import Any

from msgspec import to_builtins

from cribus.api.images import Capture, Pack
from cribus.api.verb import Empty
from cribus.images import worker
from cribus.images.node import Node

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


async def _have(node: Node, request: dict[str, Any]) -> tuple[int, int]:
    """Done by a worker, which may hang without harm to anybody else."""
    return await worker.answer(await worker.begin(node.spawn, _PARCEL, request, []))
