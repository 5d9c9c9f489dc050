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

Property = tuple[str, str, object]  # name, D-Bus signature, value
INFINITY = (1 << 64) - 1
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


def amount(text: str) -> int:
    """A control file's figure as a property of type t; `max` is infinity."""
    return INFINITY if text == "max" else int(text)


def quota(limit: str, period: str) -> list[Property]:
    """Processor time of `limit` in each `period`, in µs; `max` or below 0 is without end."""
    free = limit == "max" or int(limit) < 0
    a_second = INFINITY if free else int(limit) * 1_000_000 // int(period)
    return [("CPUQuotaPerSecUSec", "t", a_second), ("CPUQuotaPeriodUSec", "t", int(period))]


def mask(numbers: str) -> bytes:
    """A list such as `0-2,5` as bits, the lowest first."""
    bits = 0
    for part in numbers.split(","):
        first, _, last = part.partition("-")
        bits |= (1 << int(last or first) + 1) - (1 << int(first))
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def start(path: str, pid: int, limits: list[Property]) -> None:
    """Register the cgroup: a slice, or a scope holding `pid`, with all controllers delegated. Idempotent.

    systemd writes every limit of a unit that it takes over, its own default where it was told none:
    `limits` are those that the cgroup has.
    """
    unit = os.path.basename(path)
    parent = os.path.basename(os.path.dirname(path)) or "-.slice"
    properties: list[Property] = [
        ("Description", "s", f"cribus {unit}"),
        ("DefaultDependencies", "b", False),
        ("CollectMode", "s", "inactive-or-failed"),  # or one that met the OOM killer would be kept for ever
    ]
    if unit.endswith(".scope"):
        properties += [("Slice", "s", parent), ("Delegate", "b", True), ("PIDs", "au", [pid])]
    properties += [(name, "b", True) for name in ("CPUAccounting", "MemoryAccounting", "TasksAccounting")]
    properties += limits
    body = dbus.Writer()
    body.string(unit)
    body.string("replace")
    body.array(8, [functools.partial(body.named, *one) for one in properties])
    body.array(8, [])
    _call("StartTransientUnit", "ssa(sv)a(sa(sv))", bytes(body.data), "UnitExists")


def tell(path: str, limits: list[Property]) -> None:
    """Let the unit have these limits, until it ends. Content when systemd does not know it."""
    body = dbus.Writer()
    body.string(os.path.basename(path))
    body.u32(1)  # runtime: nothing is written below /etc
    body.array(8, [functools.partial(body.named, *one) for one in limits])
    _call("SetUnitProperties", "sba(sv)", bytes(body.data), "NoSuchUnit")


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
