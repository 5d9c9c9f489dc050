"""Indexes, manifests and configs: which image of an index is for this machine, and what it is made of.

Sources: image-spec image-index.md, manifest.md, config.md; docker's manifest v2 schema 2. What a
registry or an archive says is checked here before anyone relies on its shape.
"""

import json
import os
from typing import Any, NamedTuple

from cribus.errors import InvalidArgument, NotFound
from cribus.images.content import hexadecimal
from cribus.images.store import Image, Layer
from cribus.oci import image_spec

_MACHINES = {"x86_64": ("amd64", ""), "aarch64": ("arm64", "v8"), "armv7l": ("arm", "v7"), "riscv64": ("riscv64", "")}
_FOREIGN = ("nondistributable", "foreign")
_DEFAULT_VARIANTS = {"arm64": "v8", "amd64": "v1", "arm": "v7"}


class Descriptor(NamedTuple):
    """What names a blob, checked."""

    digest: str
    size: int
    media_type: str


def document(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object. Raises InvalidArgument."""
    try:
        found = json.loads(data)
    except ValueError as error:
        raise InvalidArgument(f"{what} is not JSON") from error
    return _object(found, what)


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidArgument(f"{what} is not a JSON object")
    return value


def _list(parent: dict[str, Any], name: str) -> list[Any]:
    found = parent.get(name) or []
    if not isinstance(found, list):
        raise InvalidArgument(f"{name} of the image is not a list")
    return found


def descriptor(value: object) -> Descriptor:
    """A descriptor of a document. Raises InvalidArgument."""
    body = _object(value, "a descriptor of the image")
    size = body.get("size", 0)
    if not isinstance(size, int) or size < 0:
        raise InvalidArgument(f"a descriptor of the image has the size {size!r}")
    hexadecimal(body.get("digest", ""))
    return Descriptor(body["digest"], size, str(body.get("mediaType") or ""))


def is_index(body: dict[str, Any], media_type: str = "") -> bool:
    kind = body.get("mediaType") or media_type
    return kind in image_spec.INDEXES or ("manifests" in body and kind not in image_spec.MANIFESTS)


def chosen(index: dict[str, Any], machine: str = "") -> str:
    """The digest of the manifest for this machine. Raises NotFound, with what there is."""
    machine = machine or os.uname().machine
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    fitting: list[tuple[int, int, str]] = []
    there = set()
    for one in _list(index, "manifests"):
        digest = descriptor(one).digest
        platform = one.get("platform") or {}
        there.add(f"{platform.get('os', 'linux')}/{platform.get('architecture', '?')}")
        rank = _fit(platform, architecture, variant)
        if rank is not None:
            fitting.append((rank, len(fitting), digest))
    if not fitting:
        raise NotFound(
            f"the image has no manifest for linux/{architecture}; it has {', '.join(sorted(there)) or 'none at all'}"
        )
    return min(fitting)[2]


def _fit(platform: dict[str, Any], architecture: str, variant: str) -> int | None:
    """How well a platform fits this machine: 0 is best, None not at all."""
    if not platform:
        return 100  # says nothing: better than nothing
    if platform.get("os", "linux") != "linux" or platform.get("architecture") != architecture:
        return None
    own = _level(variant or _DEFAULT_VARIANTS.get(architecture, ""))
    other = _level(platform.get("variant") or _DEFAULT_VARIANTS.get(architecture, ""))
    return own - other if other <= own else None  # an older one runs too


def _level(variant: str) -> int:
    digits = variant.removeprefix("v")
    return int(digits) if digits.isdigit() and digits.isascii() else 0


def image(manifest: bytes, manifest_digest: str, config: bytes) -> Image:
    """The image that a manifest and its config describe. Raises InvalidArgument when they contradict each other."""
    body = document(manifest, "the manifest")
    root = _object(document(config, "the image's config").get("rootfs") or {}, "rootfs of the image's config")
    diff_ids, layers = _list(root, "diff_ids"), _list(body, "layers")
    if len(diff_ids) != len(layers):
        raise InvalidArgument(f"the image has {len(layers)} layers but its config names {len(diff_ids)}")
    made = []
    for layer, diff_id in zip(layers, diff_ids, strict=True):
        found = descriptor(layer)
        if any(word in found.media_type for word in _FOREIGN) and layer.get("urls"):
            raise InvalidArgument("the image has a foreign layer, which registries do not hold; it cannot be pulled")
        if "encrypted" in found.media_type:
            raise InvalidArgument("the image has an encrypted layer; decrypt the image before it is pulled")
        hexadecimal(diff_id)
        made.append(Layer(digest=found.digest, diff_id=diff_id, size=found.size, media_type=found.media_type))
    size = len(manifest) + len(config) + sum(layer.size for layer in made)
    return Image(id=config_of(body).digest, manifest=manifest_digest, size=size, layers=made)


def config_of(manifest: dict[str, Any]) -> Descriptor:
    """The descriptor of a manifest's config. Raises InvalidArgument for what is no image."""
    if "config" not in manifest:
        raise InvalidArgument(
            "the manifest names no config: it is no container image, or of docker's schema 1, which is gone"
        )
    return descriptor(manifest["config"])
