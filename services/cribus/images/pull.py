"""Pulling an image: manifest, config, then its layers side by side.

Two pulls of one reference are one pull, two images that share a layer fetch it once, and a pull whose
caller gave up goes on, so that the next try finds more of it done.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from cribus.api import events
from cribus.api.cri.image import PullImageResponse
from cribus.api.cri.sandbox import PullImageRequest
from cribus.api.images import Progress as Word
from cribus.errors import InvalidArgument
from cribus.images import layer as layers
from cribus.images import manifest
from cribus.images.node import Node
from cribus.images.reference import Reference, parse
from cribus.images.registry.client import Registry
from cribus.images.store import Image, Layer

ANNOTATION = "cribus.pull"  # its value names the subject that progress is told on


async def pull(node: Node, request: PullImageRequest) -> PullImageResponse:
    """CRI PullImage. Raises InvalidArgument, NotFound, PermissionDenied, DataLoss, Unavailable."""
    if request.image is None or not request.image.image:
        raise InvalidArgument("no image is named; give a reference")
    reference = parse(request.image.image)
    key = f"{reference} {hash((request.auth.username, request.auth.auth)) if request.auth else ''}"
    task = node.pulls.get(key)
    if task is None:
        task = asyncio.create_task(_pulled(node, reference, request))
        node.pulls[key] = task
        task.add_done_callback(lambda done: _over(node, key, done))
    return PullImageResponse(image_ref=await asyncio.shield(task))


def _over(node: Node, key: str, done: asyncio.Task[str]) -> None:
    node.pulls.pop(key, None)
    if not done.cancelled():
        done.exception()  # told to whoever waited; without a waiter it is no defect


async def _pulled(node: Node, reference: Reference, request: PullImageRequest) -> str:
    registry = await asyncio.to_thread(Registry, node.settings, reference, request.auth)
    told = request.image.annotations.get(ANNOTATION, "") if request.image else ""
    try:
        top = await asyncio.to_thread(registry.manifest, reference.wanted)
        body = manifest.document(top.data, "the manifest")
        own = top
        if manifest.is_index(body, top.media_type):
            own = await asyncio.to_thread(registry.manifest, manifest.chosen(body))
        config_digest = manifest.config_digest(own.data)
        config = await asyncio.to_thread(_small_blob, node, registry, config_digest)
        image = manifest.image(own.data, own.digest, config)
        await bring_layers(node, image, registry.blob, told)
    finally:
        registry.close()
    await asyncio.to_thread(node.content.write, own.data, own.digest)
    names = [f"{reference.name}@{top.digest}"] + ([reference.tagged] if reference.tag else [])
    node.store.add(image, names)
    await node.publish(
        events.Event(kind=events.IMAGE_PULLED, id=image.id, at=time.time_ns(), detail={"reference": str(reference)})
    )
    await asyncio.to_thread(node.count)
    return image.id


def _small_blob(node: Node, registry: Registry, digest: str) -> bytes:
    if node.content.has(digest):
        return node.content.read(digest)
    data = b""
    for chunk in registry.blob(digest, 0):
        data += chunk
        if len(data) > 8 << 20:
            raise InvalidArgument("the image's config is larger than 8 MiB")
    node.content.write(data, digest)
    return data


async def bring_layers(node: Node, image: Image, fetch: layers.Fetch, told: str) -> None:
    """Every layer of the image, unpacked; those that are there already cost nothing."""
    async with asyncio.TaskGroup() as group:
        for layer in {layer.diff_id: layer for layer in image.layers}.values():
            group.create_task(_bring(node, layer, fetch, told))


async def _bring(node: Node, layer: Layer, fetch: layers.Fetch, told: str) -> None:
    word = _Teller(node, layer, told)
    if node.snapshots.has(layer.diff_id) and node.content.has(layer.digest):
        await word.say("present", layer.size)
        return
    task = node.unpacking.get(layer.diff_id)
    if task is None:
        task = asyncio.create_task(_brought(node, layer, fetch, word))
        node.unpacking[layer.diff_id] = task
        task.add_done_callback(lambda _: node.unpacking.pop(layer.diff_id, None))
    await asyncio.shield(task)
    await word.say("done", layer.size)


async def _brought(node: Node, layer: Layer, fetch: layers.Fetch, word: "_Teller") -> None:
    await word.say("waiting", 0)
    stores = layers.Stores(node.content, node.snapshots, node.settings.max_layer_size)
    async with node.layers:
        await asyncio.to_thread(layers.bring, layer, stores, fetch, layers.Progress(word.from_thread))


class _Teller:
    """Says how far a layer is, if anyone asked to be told."""

    def __init__(self, node: Node, layer: Layer, told: str) -> None:
        self._node = node
        self._layer = layer
        self._told = told
        self._loop = asyncio.get_running_loop()

    async def say(self, stage: str, done: int) -> None:
        if self._told:
            word = Word(layer=self._layer.digest, stage=stage, done=done, total=self._layer.size)
            await self._node.tell(self._told, word)

    def from_thread(self, stage: str, done: int) -> None:
        if self._told:
            saying: Coroutine[Any, Any, None] = self.say(stage, done)
            asyncio.run_coroutine_threadsafe(saying, self._loop)
