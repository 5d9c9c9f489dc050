"""Images to a file: a tar that is both an OCI layout and a docker archive."""

import asyncio
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

from cribus.api.images import Save
from cribus.api.verb import Empty
from cribus.errors import InvalidArgument
from cribus.images import gc, manifest
from cribus.images.node import Node
from cribus.images.reference import parse
from cribus.images.store import Image
from cribus.oci import image_spec


async def save(node: Node, request: Save) -> Empty:
    """Write images to a tar file of this host. Raises NotFound, InvalidArgument."""
    images = [(name, node.store.need(name)) for name in request.references]
    if not images:
        raise InvalidArgument("no image is named; give at least one reference")
    if not os.path.isabs(request.path):
        raise InvalidArgument(f"{request.path!r} must be an absolute path on the node")
    with gc.holding(node, gc.names(image for _, image in images)):
        try:
            await asyncio.to_thread(_write, node, images, request.path)
        except OSError as error:
            raise InvalidArgument(f"{request.path} cannot be written: {error.strerror}") from error
    return Empty()


def _write(node: Node, images: list[tuple[str, Image]], path: str) -> None:
    temporary = f"{path}.{os.getpid()}.tmp"
    index: list[dict[str, Any]] = []
    docker: dict[str, dict[str, Any]] = {}
    try:
        with tarfile.open(temporary, "w") as tar:
            add_file(tar, "oci-layout", image_spec.LAYOUT)
            done: set[str] = set()
            for name, image in images:
                for digest in (image.manifest, image.id, *(layer.digest for layer in image.layers)):
                    if digest not in done:
                        done.add(digest)
                        tar.add(node.content.path(digest), _blob(digest), filter=_anonymous)
                tags = _tags(node, name, image)
                index += [_descriptor(node, image, tag) for tag in tags or [""]]
                entry = docker.setdefault(image.id, _docker_entry(image))
                entry["RepoTags"] += [tag for tag in tags if tag not in entry["RepoTags"]]
            add_file(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": index}).encode())
            add_file(tar, "manifest.json", json.dumps(list(docker.values())).encode())
        os.rename(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _tags(node: Node, name: str, image: Image) -> list[str]:
    """The tag that was named; named by id or digest, an image takes all its tags along."""
    tags = [one for one in node.store.names(image.id) if "@" not in one]
    try:
        named = parse(name).tagged
    except InvalidArgument:
        named = ""
    return [named] if named in tags else tags


def _descriptor(node: Node, image: Image, tag: str) -> dict[str, Any]:
    data = node.content.read(image.manifest)
    kind = manifest.document(data, "the manifest").get("mediaType") or image_spec.MANIFEST
    descriptor: dict[str, Any] = {"mediaType": kind, "digest": image.manifest, "size": len(data)}
    if tag:
        descriptor["annotations"] = {image_spec.CONTAINERD_NAME: tag, image_spec.REF_NAME: parse(tag).tag}
    return descriptor


def _docker_entry(image: Image) -> dict[str, Any]:
    return {"Config": _blob(image.id), "RepoTags": [], "Layers": [_blob(layer.digest) for layer in image.layers]}


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.mtime = 0
    info.mode = 0o644
    info.uname = info.gname = ""
    return info


def add_file(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A small file of the archive."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
