"""systemd's half of the systemd driver: names of slices and scopes, and telling systemd of ours.

We make the cgroup ourselves and register it as a transient unit with Delegate= afterwards, off the
hot path; systemd takes over a directory that is there. Speaks D-Bus by hand: two method calls.
Sources: systemd.slice(5), org.freedesktop.systemd1(5), D-Bus specification 0.43 (wire format).
"""

from __future__ import annotations

import functools
import os

from cribus.cgroups import dbus
from cribus.errors import InvalidArgument, Unavailable

BUS = "/run/dbus/system_bus_socket"
DEADLINE = 10.0


def slice_path(name: str) -> str:
    """`a-b-c.slice` → `/a.slice/a-b.slice/a-b-c.slice`. Raises InvalidArgument for what is no slice's name."""
    stem = name.removesuffix(".slice")
    if name == "-.slice":
        return "/"
    if stem == name or not stem or "/" in name or "" in stem.split("-"):
        raise InvalidArgument(f"{name!r} is no slice: the systemd driver needs a cgroup parent like kubepods.slice")
    parts = stem.split("-")
    return "".join(f"/{'-'.join(parts[: count + 1])}.slice" for count in range(len(parts)))


def below(parent: str, name: str) -> str:
    """The slice of that name inside the parent slice; the parent may be a path, whose last part counts."""
    parent = os.path.basename(parent.rstrip("/"))
    slice_path(parent)
    return f"{parent.removesuffix('.slice')}-{name}.slice"


def scope_name(prefix: str, name: str) -> str:
    """The unit of a container; a name that ends in .slice or .scope stands for itself."""
    if name.endswith((".slice", ".scope")):
        return name
    return f"{prefix}-{name}.scope" if prefix else f"{name}.scope"


def start(path: str, pid: int = 0) -> None:
    """Register the cgroup: a slice, or a scope holding `pid`, with all controllers delegated. Idempotent."""
    unit = os.path.basename(path)
    parent = os.path.basename(os.path.dirname(path)) or "-.slice"
    properties: list[tuple[str, str, object]] = [
        ("Description", "s", f"cribus {unit}"),
        ("DefaultDependencies", "b", False),
    ]
    if unit.endswith(".scope"):
        properties += [("Slice", "s", parent), ("Delegate", "b", True), ("PIDs", "au", [pid])]
    properties += [(name, "b", True) for name in ("CPUAccounting", "MemoryAccounting", "TasksAccounting")]
    body = dbus.Writer()
    body.string(unit)
    body.string("replace")
    body.array(8, [functools.partial(body.named, *one) for one in properties])
    body.array(8, [])
    _call("StartTransientUnit", "ssa(sv)a(sa(sv))", bytes(body.data), "UnitExists")


def stop(path: str) -> None:
    """End the unit, whether systemd knows it or not."""
    body = dbus.Writer()
    body.string(os.path.basename(path))
    body.string("replace")
    _call("StopUnit", "ss", bytes(body.data), "NoSuchUnit")


def _call(member: str, signature: str, body: bytes, content_with: str) -> None:
    target = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
    try:
        bus = dbus.Connection(BUS, DEADLINE)
        try:
            bus.call(target, member, signature, body)
        finally:
            bus.close()
    except dbus.Failed as error:
        if not error.name.endswith("." + content_with):
            raise Unavailable(f"systemd refuses {member}: {error}") from error
    except OSError as error:
        raise Unavailable(
            f"systemd does not answer at {BUS} ({error}): start it, or set cgroups.driver to cgroupfs"
        ) from error
