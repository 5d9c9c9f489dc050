"""Indexes, manifests and configs: which image of an index is for this machine, and what it is made of.

Sources: image-spec image-index.md, manifest.md, config.md; docker's manifest v2 schema 2.
"""

import json
import os
from typing import Any

from cribus.errors import InvalidArgument, NotFound
from cribus.images.content import hexadecimal
from cribus.images.registry.client import INDEX_TYPES, MANIFEST_TYPES
from cribus.images.store import Image, Layer

_MACHINES = {"x86_64": ("amd64", ""), "aarch64": ("arm64", "v8"), "armv7l": ("arm", "v7"), "riscv64": ("riscv64", "")}
_FOREIGN = ("nondistributable", "foreign")


def document(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object. Raises InvalidArgument."""
    try:
        found = json.loads(data)
    except ValueError as error:
        raise InvalidArgument(f"{what} is not JSON") from error
    if not isinstance(found, dict):
        raise InvalidArgument(f"{what} is not a JSON object")
    return found


def is_index(body: dict[str, Any], media_type: str) -> bool:
    kind = body.get("mediaType") or media_type
    return kind in INDEX_TYPES or ("manifests" in body and kind not in MANIFEST_TYPES)


def chosen(index: dict[str, Any], machine: str = "") -> str:
    """The digest of the manifest for this machine. Raises NotFound, with what there is."""
    architecture, variant = _MACHINES.get(machine or os.uname().machine, (machine or os.uname().machine, ""))
    fitting = []
    for one in index.get("manifests", []):
        platform = one.get("platform") or {}
        if platform.get("os", "linux") == "linux" and platform.get("architecture", architecture) == architecture:
            exact = platform.get("variant", variant) == variant and "architecture" in platform
            fitting.append((not exact, one["digest"]))
    if not fitting:
        there = sorted({(one.get("platform") or {}).get("architecture", "?") for one in index.get("manifests", [])})
        raise NotFound(f"the image has no manifest for linux/{architecture}; it has {', '.join(there) or 'none'}")
    return str(min(fitting, key=lambda pair: pair[0])[1])


def image(manifest: bytes, manifest_digest: str, config: bytes) -> Image:
    """The image that a manifest and its config describe. Raises InvalidArgument when they contradict each other."""
    body = document(manifest, "the manifest")
    diff_ids = document(config, "the image's config").get("rootfs", {}).get("diff_ids", [])
    layers = body.get("layers", [])
    if len(diff_ids) != len(layers):
        raise InvalidArgument(f"the image has {len(layers)} layers but its config names {len(diff_ids)}")
    made = []
    for layer, diff_id in zip(layers, diff_ids, strict=True):
        kind = layer.get("mediaType", "")
        if any(word in kind for word in _FOREIGN) and layer.get("urls"):
            raise InvalidArgument("the image has a foreign layer, which registries do not hold; it cannot be pulled")
        hexadecimal(layer.get("digest", ""))
        hexadecimal(diff_id)
        made.append(Layer(digest=layer["digest"], diff_id=diff_id, size=int(layer.get("size", 0)), media_type=kind))
    size = len(manifest) + len(config) + sum(layer.size for layer in made)
    return Image(id=body["config"]["digest"], manifest=manifest_digest, size=size, layers=made)


def config_digest(manifest: bytes) -> str:
    """The digest of a manifest's config. Raises InvalidArgument for what is no image."""
    config = document(manifest, "the manifest").get("config")
    if not isinstance(config, dict) or "digest" not in config:
        raise InvalidArgument("the manifest names no config; this is no container image")
    hexadecimal(config["digest"])
    return str(config["digest"])
