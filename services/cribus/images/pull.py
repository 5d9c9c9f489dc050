"""Pulling an image: manifest, config, then its layers side by side.

Two pulls of one reference by one user are one pull, and a pull whose caller gave up goes on, so that the
next try finds more of it done.
"""

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from cribus.api import events
from cribus.api.cri.image import AuthConfig, PullImageResponse
from cribus.api.cri.sandbox import PullImageRequest
from cribus.config import Images
from cribus.errors import DataLoss, InvalidArgument
from cribus.images import below, bring, manifest
from cribus.images.content import digest_of
from cribus.images.node import Node
from cribus.images.reference import Reference, parse
from cribus.images.store import Image
from cribus.steps import Step

if TYPE_CHECKING:
    from cribus.images.registry.client import Registry

ANNOTATION = "cribus.pull"  # its value names the subject that progress is told on
_CONFIG_LIMIT = 8 << 20  # bytes
_MANIFEST = Step("images.pull.manifest")
_CONFIG = Step("images.pull.config")
_BLOBS = Step("images.pull.blobs")
_LAYERS = Step("images.pull.layers")
_IMAGE = Step("images.pull.image")


async def pull(node: Node, request: PullImageRequest) -> PullImageResponse:
    """CRI PullImage. Raises InvalidArgument, NotFound, Unauthenticated, PermissionDenied, DataLoss, Unavailable."""
    if request.image is None or not request.image.image:
        raise InvalidArgument("no image is named; give a reference")
    reference = parse(request.image.image)
    key = (reference, msgspec.json.encode(request.auth))
    task = node.pulls.get(key)
    if task is None:
        task = asyncio.create_task(_pulled(node, reference, request))
        node.pulls[key] = task
        task.add_done_callback(lambda done: _over(node, key, done))
    return PullImageResponse(image_ref=await asyncio.shield(task))


def _over(node: Node, key: object, done: asyncio.Task[str]) -> None:
    node.pulls.pop(key, None)
    if not done.cancelled():
        done.exception()  # told to whoever waited; without a waiter it is no defect


def _registry(settings: Images, reference: Reference, auth: AuthConfig | None) -> "Registry":
    """For a thread: certificates are read, and with the first pull a library of several MiB."""
    from cribus.images.registry.client import Registry

    return Registry(settings, reference, auth)


async def _pulled(node: Node, reference: Reference, request: PullImageRequest) -> str:
    registry = await asyncio.to_thread(_registry, node.settings, reference, request.auth)
    told = request.image.annotations.get(ANNOTATION, "") if request.image else ""
    began = time.time()
    source = bring.Source(registry.blob, registry.stop, told, node.settings.concurrent_layers)
    try:
        with _MANIFEST.of(str(reference)):
            top = await source.run(registry.manifest, reference.wanted)
        own, body = top, manifest.document(top.data, "the manifest")
        if manifest.is_index(body, top.media_type):
            own = await source.run(registry.manifest, manifest.chosen(body))
            body = manifest.document(own.data, "the manifest")
        with _CONFIG.of(str(reference)):
            config = await source.run(_config, node, registry, manifest.config_of(body).digest)
        image = manifest.image(own.data, own.digest, config)
        names = [f"{reference.name}@{top.digest}"] + ([reference.tagged] if reference.tag else [])
        blobs = {image.id: config, own.digest: own.data}
        await keep(node, image, Parts(names, blobs, source))
    finally:
        await source.run(registry.close)
        source.close()
    node.tidy()
    detail = {
        "reference": str(reference),
        "digest": top.digest,
        "source": top.source,
        "bytes": str(sum(layer.size for layer in image.layers)),
        "seconds": f"{time.time() - began:.3g}",
    }
    await node.publish(events.Event(kind=events.IMAGE_PULLED, id=image.id, at=time.time_ns(), detail=detail))
    return image.id


class Parts(NamedTuple):
    """What an image is put together from."""

    names: list[str]  # that it gets; an image that loses its last name to another stays, under its digest
    blobs: dict[str, bytes]  # manifest and config
    source: bring.Source  # of its layers


async def keep(node: Node, image: Image, parts: Parts) -> None:
    """Have an image here: first what it is made of, then the record that says so.

    Once it is done no loss of power takes it back. After a failure nothing of it is left that is of no use.
    """
    node.pinned.append(image)
    try:
        small = asyncio.ensure_future(asyncio.to_thread(_stored, node, image, parts.blobs))
        try:
            with _LAYERS.of(image.id):
                await bring.layers(node, image, parts.source)
        finally:
            await asyncio.wait([small])
        await small
        await asyncio.to_thread(node.content.sync)
        stack = below.stack(node.snapshots, [layer.diff_id for layer in image.layers])
        with _IMAGE.of(image.id):
            await node.store.add(msgspec.structs.replace(image, stack=stack), parts.names)
        node.pinned.remove(image)
    except BaseException as error:
        node.pinned.remove(image)
        bring.undo(node, image, error)
        raise
    node.settle()


def _stored(node: Node, image: Image, blobs: dict[str, bytes]) -> None:
    with _BLOBS.of(image.id):
        for digest, data in blobs.items():
            node.content.write(data, digest)


def _config(node: Node, registry: "Registry", digest: str) -> bytes:
    if node.content.has(digest):
        return node.content.read(digest)
    data = b""
    for chunk in registry.blob(digest, 0):
        data += chunk
        if len(data) > _CONFIG_LIMIT:
            raise DataLoss("the image's config is larger than 8 MiB; this is no config")
    if digest_of(data) != digest:
        raise DataLoss(f"the registry sent a config of digest {digest_of(data)} for {digest}; it lies or is broken")
    return data
