"""What of a document is no property of the runtime-spec for Linux: such is ignored, and told by its place.
Source: runtime-spec config.md "Extensibility". Pure."""

import functools
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

from cribus.oci.runtime_spec import Spec


def unknown(document: dict[str, Any], kind: Any = Spec, place: str = "") -> list[str]:
    """A sentence for each; one that says nothing (null, empty, 0, false) is none."""
    found: list[str] = []
    for name, value in document.items():
        at = f"{place}.{name}" if place else name
        expected = _properties(kind).get(name)
        if expected is None:
            found += [f"{at} is no property of the runtime-spec for Linux: it is ignored"] if value else []
        elif value:
            found += _inside(value, expected, at)
    return found


def of_unit(document: dict[str, Any], driver: str) -> list[str]:
    """Annotations by which runc sets properties of the container's unit where systemd has the cgroups."""
    asked = [name for name in document.get("annotations") or {} if name.startswith("org.systemd.property.")]
    return [f"annotation {name} is ignored: units have what follows from the limits" for name in sorted(asked)] * (
        driver == "systemd"
    )


def _inside(value: Any, kind: Any, place: str) -> list[str]:
    """The same of a property's value. One of another shape is for the checks of its own."""
    if is_typeddict(kind):
        return unknown(value, kind, place) if isinstance(value, dict) else []
    inner = get_args(kind)[-1:]
    if not inner or not (is_typeddict(inner[0]) and isinstance(value, get_origin(kind) or ())):
        return []
    if isinstance(value, dict):
        return [text for name, one in value.items() for text in _inside(one, inner[0], f"{place}.{name}")]
    return [text for at, one in enumerate(value) for text in _inside(one, inner[0], f"{place}[{at}]")]


@functools.cache
def _properties(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
