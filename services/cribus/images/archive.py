"""Images to and from files: OCI layouts (a folder or a tar of one) and docker archives.

Sources: image-spec image-layout.md; docker's image save format (manifest.json).
"""

import asyncio
import hashlib
import io
import json
import os
import tarfile
import threading
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import msgspec

from cribus.api.images import Load, Loaded, Save
from cribus.api.verb import Empty
from cribus.errors import DataLoss, InvalidArgument, NotFound
from cribus.images import bring, inflate, manifest, pull
from cribus.images.content import CHUNK, digest_of
from cribus.images.node import Node
from cribus.images.reference import parse
from cribus.images.store import Image
from cribus.linux import files
from cribus.oci import image_spec

_NAMES = (image_spec.CONTAINERD_NAME, image_spec.REF_NAME)
_LAYERS = {"": image_spec.LAYER, "gzip": image_spec.LAYER_GZIP, "zstd": image_spec.LAYER_ZSTD}
_SMALL = 8 << 20


class _Files:
    """The files of a layout, in a folder or in a tar. Close it after use."""

    def __init__(self, path: str) -> None:
        self._folder = Path(path)
        self._tar: tarfile.TarFile | None = None
        self._turn = threading.Lock()  # a tar has one position for all who read it
        if not self._folder.is_dir():
            try:
                self._tar = tarfile.open(path)  # noqa: SIM115 - open as long as the load goes on
            except FileNotFoundError as error:
                raise NotFound(f"{path} does not exist on the node") from error
            except (tarfile.TarError, OSError, EOFError) as error:
                raise InvalidArgument(f"{path} is neither a tar archive nor a folder: {error}") from error

    def close(self) -> None:
        if self._tar is not None:
            self._tar.close()

    def open(self, name: str) -> IO[bytes]:
        """Raises NotFound, InvalidArgument, DataLoss."""
        try:
            if self._tar is None:
                fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    return open(files.openat2(fd, _inside(name), os.O_RDONLY | os.O_NONBLOCK), "rb")
                finally:
                    os.close(fd)
            with self._turn:
                file = self._tar.extractfile(_inside(name))
        except (FileNotFoundError, KeyError) as error:
            raise NotFound(f"the archive has no {name}; it is incomplete") from error
        except (tarfile.TarError, OSError, EOFError) as error:
            raise DataLoss(f"the archive's {name} cannot be read: {error}") from error
        if file is None:
            raise InvalidArgument(f"the archive's {name} is no file")
        return file

    def read(self, name: str) -> bytes:
        data = b""
        for chunk in self.chunks(name, 0):
            data += chunk
            if len(data) > _SMALL:
                raise InvalidArgument(f"the archive's {name} is larger than {_SMALL} bytes")
        return data

    def has(self, name: str) -> bool:
        try:
            self.open(name).close()
        except NotFound:
            return False
        return True

    def chunks(self, name: str, offset: int) -> Iterator[bytes]:
        with self.open(name) as file:
            at = offset
            while True:
                try:
                    with self._turn:
                        file.seek(at)
                        chunk = file.read(CHUNK)
                except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
                    raise DataLoss(f"the archive's {name} cannot be read: {error}") from error
                if not chunk:
                    return
                at += len(chunk)
                yield chunk


def _inside(name: str) -> str:
    if name.startswith("/") or ".." in name.split("/"):
        raise InvalidArgument(f"the archive names {name!r}, which is outside of it")
    return name


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


async def load(node: Node, request: Load) -> Loaded:
    """Import every image of an archive. Raises NotFound, InvalidArgument, DataLoss."""
    source = await asyncio.to_thread(_Files, request.path)
    try:
        if await asyncio.to_thread(source.has, "index.json"):
            references = await _from_layout(node, source, request.reference)
        elif await asyncio.to_thread(source.has, "manifest.json"):
            references = await _from_docker(node, source, request.reference)
        else:
            raise InvalidArgument(
                f"{request.path} has neither index.json (OCI layout) nor manifest.json (docker archive)"
            )
    finally:
        await asyncio.to_thread(source.close)
    return Loaded(references=references)


async def _kept(node: Node, image: Image, names: list[str], parts: pull.Parts) -> list[str]:
    """Have an image of the archive here; its names, or its id when it has none."""
    wanted = [parse(name) for name in names]
    tagged = [one.tagged for one in wanted if one.tag]
    digested = sorted({f"{one.name}@{image.manifest}" for one in wanted})
    try:
        await pull.keep(node, image, parts._replace(names=[*digested, *tagged]))
    finally:
        parts.source.close()
    return tagged or [image.id]


async def _from_layout(node: Node, source: _Files, default: str) -> list[str]:
    references: list[str] = []
    index = manifest.document(await asyncio.to_thread(source.read, "index.json"), "index.json")
    for described in index.get("manifests") or []:
        top = manifest.descriptor(described)
        data = await asyncio.to_thread(source.read, _blob(top.digest))
        body = manifest.document(data, "the manifest")
        if manifest.is_index(body, top.media_type):
            data = await asyncio.to_thread(source.read, _blob(manifest.chosen(body)))
            body = manifest.document(data, "the manifest")
        config = await asyncio.to_thread(source.read, _blob(manifest.config_of(body).digest))
        image = manifest.image(data, digest_of(data), config)
        annotations = described.get("annotations") or {}
        name = next((annotations[key] for key in _NAMES if "/" in annotations.get(key, "")), default)
        blobs = {image.id: config, image.manifest: data}
        parts = pull.Parts([], blobs, bring.Source(partial(_blob_chunks, source), lambda: None))
        references += await _kept(node, image, [name] if name else [], parts)
    return references


async def _from_docker(node: Node, source: _Files, default: str) -> list[str]:
    references: list[str] = []
    try:
        listed = msgspec.json.decode(await asyncio.to_thread(source.read, "manifest.json"), type=list[_Docker])
    except msgspec.DecodeError as error:
        raise InvalidArgument(f"the archive's manifest.json is none: {error}") from error
    for one in listed:
        config = await asyncio.to_thread(source.read, one.Config)
        names = {}
        layers = []
        for name in one.Layers:
            layer = await asyncio.to_thread(_measured, source, name)
            names[layer["digest"]] = name
            layers.append(layer)
        made = {
            "schemaVersion": 2,
            "mediaType": image_spec.MANIFEST,
            "config": {"mediaType": image_spec.CONFIG, "digest": digest_of(config), "size": len(config)},
            "layers": layers,
        }
        data = json.dumps(made, separators=(",", ":")).encode()
        image = manifest.image(data, digest_of(data), config)
        blobs = {image.id: config, image.manifest: data}
        parts = pull.Parts([], blobs, bring.Source(_by_name(source, names), lambda: None))
        references += await _kept(node, image, one.RepoTags or ([default] if default else []), parts)
    return references


class _Docker(msgspec.Struct):
    """One image of docker's manifest.json."""

    Config: str
    Layers: list[str]
    RepoTags: list[str] | None = None


def _blob_chunks(source: _Files, digest: str, offset: int, size: int) -> Iterator[bytes]:
    return source.chunks(_blob(digest), offset)


def _by_name(source: _Files, names: dict[str, str]) -> bring.Fetch:
    return lambda digest, offset, size: source.chunks(names[digest], offset)


def _measured(source: _Files, name: str) -> image_spec.Descriptor:
    """A descriptor of a file that has none."""
    digest = hashlib.sha256()
    size = 0
    kind = ""
    for chunk in source.chunks(name, 0):
        kind = kind if size else inflate.kind(chunk)
        digest.update(chunk)
        size += len(chunk)
    return {"mediaType": _LAYERS[kind], "digest": "sha256:" + digest.hexdigest(), "size": size}


async def save(node: Node, request: Save) -> Empty:
    """Write images to a tar that is an OCI layout and a docker archive. Raises NotFound, InvalidArgument."""
    images = [(name, node.store.need(name)) for name in request.references]
    if not images:
        raise InvalidArgument("no image is named; give at least one reference")
    if not os.path.isabs(request.path):
        raise InvalidArgument(f"{request.path!r} must be an absolute path on the node")
    node.pinned += [image for _, image in images]
    try:
        await asyncio.to_thread(_write, node, images, request.path)
    except OSError as error:
        raise InvalidArgument(f"{request.path} cannot be written: {error.strerror}") from error
    finally:
        for _, image in images:
            node.pinned.remove(image)
    return Empty()


def _write(node: Node, images: list[tuple[str, Image]], path: str) -> None:
    temporary = f"{path}.{os.getpid()}.tmp"
    index, docker = [], []
    try:
        with tarfile.open(temporary, "w") as tar:
            done: set[str] = set()
            for name, image in images:
                for digest in (image.manifest, image.id, *(layer.digest for layer in image.layers)):
                    if digest not in done:
                        done.add(digest)
                        tar.add(node.content.path(digest), _blob(digest), filter=_anonymous)
                tags = _tags(node, name, image)
                index += [_descriptor(node, image, tag) for tag in tags or [""]]
                docker.append(_docker_entry(image, tags))
            add_file(tar, "oci-layout", image_spec.LAYOUT)
            add_file(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": index}).encode())
            add_file(tar, "manifest.json", json.dumps(docker).encode())
        os.rename(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _tags(node: Node, name: str, image: Image) -> list[str]:
    """The tag that was named; named by id or by digest, an image takes all its tags along."""
    tags = [one for one in node.store.names(image.id) if "@" not in one]
    try:
        named = parse(name).tagged
    except InvalidArgument:
        named = ""
    return [named] if named in tags else tags


def _descriptor(node: Node, image: Image, tag: str) -> dict[str, Any]:
    body = manifest.document(node.content.read(image.manifest), "the manifest")
    descriptor: dict[str, Any] = {
        "mediaType": body.get("mediaType", image_spec.MANIFEST),
        "digest": image.manifest,
        "size": len(node.content.read(image.manifest)),
    }
    if tag:
        descriptor["annotations"] = {_NAMES[0]: tag, _NAMES[1]: parse(tag).tag}
    return descriptor


def _docker_entry(image: Image, tags: list[str]) -> dict[str, Any]:
    return {
        "Config": _blob(image.id),
        "RepoTags": tags,
        "Layers": [_blob(layer.digest) for layer in image.layers],
    }


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    return info


def add_file(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A small file of the archive."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
