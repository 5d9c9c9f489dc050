"""runtime-spec `hooks` → what runs them. Source: runtime-spec config.md "POSIX-platform Hooks". Pure."""

from typing import Any

BEFORE = ("prestart", "createRuntime")
INSIDE = ("createContainer", "startContainer")

Hook = list[Any]  # [kind, path, args, env, timeout in seconds or 0]


def of(spec: dict[str, Any], *kinds: str) -> list[Hook]:
    """The hooks of these kinds, in the order in which they run."""
    given = spec.get("hooks") or {}
    return [_hook(kind, one) for kind in kinds for one in given.get(kind) or []]


def _hook(kind: str, one: dict[str, Any]) -> Hook:
    env = dict(entry.partition("=")[::2] for entry in one.get("env") or [])
    return [kind, one["path"], one.get("args") or [one["path"]], env, one.get("timeout") or 0]


def later(spec: dict[str, Any]) -> list[str]:
    """The kinds for which the document has to be read again."""
    return [kind for kind in ("poststart", "poststop") if of(spec, kind)]


def base(spec: dict[str, Any], container: str, bundle: str) -> dict[str, Any]:
    """What of the state that hooks read does not change."""
    version, annotations = spec.get("ociVersion", "1.0.0"), spec.get("annotations") or {}
    return {"ociVersion": version, "id": container, "bundle": bundle, "annotations": annotations}
