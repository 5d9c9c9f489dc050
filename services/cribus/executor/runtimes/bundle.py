"""Our runtime-spec document as an outside runtime takes it. Pure."""

from typing import Any

from cribus.executor.plan import mounts
from cribus.executor.plan.build import namespaces_of
from cribus.executor.plan.idmap import Owner

_VERSION = "1.0.2"  # nothing in our documents is wrong by it, and older runtimes refuse versions they do not know
_KIND = "io.kubernetes.cri.container-type"


def adapted(spec: dict[str, Any], rootfs: str, hostname: str = "") -> dict[str, Any]:
    """The root filesystem is mounted at `rootfs` already, and what is meant for us alone is left out.

    A runtime that puts a machine or a kernel of its own around containers knows by an annotation whether
    to start one or to join one; there is no container of ours that it could join, so each starts its own,
    and learns the pod's `hostname` from here alone.
    """
    given = spec.get("annotations") or {}
    annotations = {name: text for name, text in given.items() if not name.startswith("dev.cribus.")}
    if _KIND in annotations:
        annotations[_KIND] = "sandbox"
    root = spec.get("root") or {}
    path = rootfs if _overlay(spec) else root.get("path", "rootfs")
    named = {"hostname": hostname} if hostname and namespaces_of(spec).get("uts") else {}
    return {
        **spec,
        **named,
        "ociVersion": _VERSION,
        "root": {**root, "path": path},
        "mounts": [one for one in spec.get("mounts") or [] if not mounts.is_root(one)],
        "annotations": annotations,
    }


def rootfs(spec: dict[str, Any], target: str) -> dict[str, Any]:
    """What child/rootfs.py has to do first. Raises InvalidArgument."""
    overlay = _overlay(spec)
    owner = Owner(spec.get("linux") or {})
    mapped = bool(overlay and overlay.get("uidMappings"))
    return {
        "target": target,
        "options": mounts.overlay_options(overlay) if overlay else {},
        "owner": [owner.uid(0), owner.gid(0)] if mapped else [],
        "users": namespaces_of(spec).get("user", ""),
        "sources": [one["source"] for one in spec.get("mounts") or [] if mounts.is_bind(one)],
    }


def _overlay(spec: dict[str, Any]) -> dict[str, Any] | None:
    return next((one for one in spec.get("mounts") or [] if mounts.is_root(one)), None)
