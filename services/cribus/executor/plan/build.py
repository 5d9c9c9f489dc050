"""A runtime-spec document → what the keeper and init do. Pure: looks at nothing, changes nothing.

The steps themselves are in child/steps.py. Source: runtime-spec config-linux.md and runtime-linux.md.
"""

import json
import os
from typing import Any, NamedTuple

from cribus.errors import FailedPrecondition, InvalidArgument, Unimplemented
from cribus.executor.plan import devices, fields, hooks, mounts, process, seccomp, sysctls
from cribus.executor.plan.host import Host
from cribus.executor.plan.idmap import Owner
from cribus.linux import mount, namespaces
from cribus.oci import validate

KINDS = {
    "mount": namespaces.CLONE_NEWNS,
    "pid": namespaces.CLONE_NEWPID,
    "network": namespaces.CLONE_NEWNET,
    "ipc": namespaces.CLONE_NEWIPC,
    "uts": namespaces.CLONE_NEWUTS,
    "user": namespaces.CLONE_NEWUSER,
    "cgroup": namespaces.CLONE_NEWCGROUP,
    "time": namespaces.CLONE_NEWTIME,
}
_ORDER = ("user", "network", "ipc", "uts", "cgroup", "time")
_CLOCKS = ("monotonic", "boottime")


class Place(NamedTuple):
    """Where a container lives."""

    bundle: str  # <run>/containers/<id>
    cgroup: str  # path below each hierarchy
    join: list[str]  # files into which init writes "0"
    id: str = ""  # empty: the bundle's name


class Plan(NamedTuple):
    """`pidns`: path of the PID namespace to be born in, or "". `init` is init's whole request. `warnings`: what of
    the document has no effect, a sentence each."""

    flags: int
    pidns: str
    init: dict[str, Any]
    warnings: list[str]


def namespaces_of(spec: dict[str, Any]) -> dict[str, str]:
    """kind → path of the namespace to join, "" for a new one. Raises InvalidArgument for unknown kinds."""
    found: dict[str, str] = {}
    for one in spec.get("linux", {}).get("namespaces") or []:
        if one.get("type") not in KINDS:
            raise InvalidArgument(f"namespace type {one.get('type')!r} is unknown; use one of {', '.join(KINDS)}")
        found[one["type"]] = one.get("path", "")
    return found


def build(spec: dict[str, Any], place: Place, host: Host) -> Plan:
    """The plan. Raises InvalidArgument or Unimplemented, naming what in the document is the reason."""
    wanted = namespaces_of(spec)
    if wanted.get("mount", "x"):
        raise Unimplemented("a container needs a mount namespace of its own: add {type: mount} without a path")
    if wanted.get("user") == "":
        raise Unimplemented("a new user namespace belongs to the pod: name the path of the pod's in linux.namespaces")
    linux = spec.get("linux") or {}
    if wanted.get("user") and not (linux.get("uidMappings") and linux.get("gidMappings")):
        raise InvalidArgument("linux.uidMappings, gidMappings: name those of the user namespace that is joined")
    if linux.get("mountLabel") and not host.selinux:
        raise FailedPrecondition("linux.mountLabel: this host has no SELinux; enable it or leave it out")
    if linux.get("intelRdt"):
        raise Unimplemented(f"linux.intelRdt: {validate.no_rdt(host.resctrl)}")
    late = KINDS["cgroup"] | KINDS["user"] | KINDS["time"]
    flags = sum(KINDS[kind] for kind, path in wanted.items() if not path) & ~late
    init = {
        "join": [*_join(wanted, place), *_clock(wanted, linux)],
        "root": _root(spec, wanted, (place, host)),
        "finish": _finish(spec, linux, wanted),
        "process": process.plan(spec.get("process") or {}, linux, host),
        "hooks": _hooks(spec, place),
    }
    return Plan(flags, wanted.get("pid", ""), init, _ignored(spec, linux, (wanted, host)))


def _ignored(spec: dict[str, Any], linux: dict[str, Any], where: tuple[dict[str, str], Host]) -> list[str]:
    wanted, host = where
    found = fields.unknown(spec)
    if linux.get("devices") and mounts.bound_devices(spec.get("mounts") or []):
        found.append("linux.devices is ignored: /dev is a bind and has the devices of its source")
    found += [text for one in spec.get("mounts") or [] if not mounts.is_root(one) for text in mounts.ignored(one)]
    found += process.ignored(spec.get("process") or {}, host, users="user" in wanted)
    return found + seccomp.ignored(linux.get("seccomp") or {})


def _hooks(spec: dict[str, Any], place: Place) -> dict[str, Any]:
    """What init has to do with hooks; {} where nothing is done from outside before the program runs. Else it halts
    before the pivot."""
    inside = {kind: hooks.of(spec, kind) for kind in hooks.INSIDE}
    if not _halts(spec):
        return {}
    state = hooks.base(spec, place.id or os.path.basename(place.bundle), place.bundle)
    return {**inside, "state": json.dumps(state)}


def _halts(spec: dict[str, Any]) -> bool:
    """Whether something is done from outside once the container's namespaces are there."""
    return bool(hooks.of(spec, *hooks.BEFORE, *hooks.INSIDE) or net_devices(spec))


def net_devices(spec: dict[str, Any]) -> dict[str, Any]:
    """linux.netDevices."""
    given: dict[str, Any] = (spec.get("linux") or {}).get("netDevices") or {}
    return given


def _join(wanted: dict[str, str], place: Place) -> list[Any]:
    """Into the cgroup first: a new cgroup namespace takes the membership of that moment for its root."""
    made: list[Any] = [["cgroups", place.join]]
    made += [["join", wanted[kind], KINDS[kind]] for kind in _ORDER if wanted.get(kind)]
    if wanted.get("cgroup") == "":
        made.append(["unshare", KINDS["cgroup"]])
    return made


def _clock(wanted: dict[str, str], linux: dict[str, Any]) -> list[Any]:
    """A time namespace of its own, with what its clocks are ahead."""
    given = linux.get("timeOffsets") or {}
    if given and wanted.get("time", "x"):
        raise InvalidArgument("linux.timeOffsets needs a new time namespace: add {type: time} without a path")
    for clock in given:
        if clock not in _CLOCKS:
            raise InvalidArgument(f"linux.timeOffsets: clock {clock!r} is none of {', '.join(_CLOCKS)}")
    lines = [f"{clock} {one.get('secs', 0)} {one.get('nanosecs', 0)}\n" for clock, one in given.items()]
    return [["clock", "".join(lines)]] if wanted.get("time") == "" else []


def _root(spec: dict[str, Any], wanted: dict[str, str], where: tuple[Place, Host]) -> list[Any]:
    """Everything until the root filesystem is "/"."""
    place, host = where
    linux = spec.get("linux") or {}
    owner = Owner(linux)
    entries = [_owned(_found(one, place), owner) for one in spec.get("mounts") or []]
    propagation = mounts.propagation(linux.get("rootfsPropagation", ""))
    made: list[Any] = mounts.early(entries)
    made.append(["propagation", mount.MS_SLAVE | mount.MS_REC])
    made.append(_root_filesystem(spec, entries, place))
    cgroups = mounts.Cgroups(wanted.get("cgroup") == "", place.cgroup)
    around = mounts.Around(host, cgroups, owner, linux.get("mountLabel") or "")
    for one in entries:
        if not mounts.is_root(one):
            made += mounts.steps(one, around)
            if one["destination"].rstrip("/") == "/dev" and one.get("type") == "tmpfs":
                made.append(devices.step(linux, owner))
    asked = bool(linux.get("devices")) and not mounts.bound_devices(entries)
    if asked and not any(step[0] == "devices" for step in made):
        made.append(devices.step(linux, owner))
    if _halts(spec):
        made.append(["halt"])
    made.append(["pivot", propagation, bool(spec.get("root", {}).get("readonly"))])
    return made


def _root_filesystem(spec: dict[str, Any], entries: list[dict[str, Any]], place: Place) -> Any:
    for one in entries:
        if mounts.is_root(one):
            return mounts.root(one, f"{place.bundle}/rootfs", Owner(spec.get("linux") or {}))
    path = spec.get("root", {}).get("path", "rootfs")
    return ["bind_root", path if path.startswith("/") else f"{place.bundle}/{path}"]


def _found(one: dict[str, Any], place: Place) -> dict[str, Any]:
    """A bind's source may be a path in the bundle."""
    source = one.get("source") or ""
    if not source or source.startswith("/") or not mounts.is_bind(one):
        return one
    return {**one, "source": os.path.normpath(f"{place.bundle}/{source}")}


def _owned(one: dict[str, Any], owner: Owner) -> dict[str, Any]:
    """In a pod with a user namespace, what is mounted anew belongs to the container's own root."""
    if not owner.mapped or one.get("type") not in ("tmpfs", "devpts"):
        return one
    given = [word for word in one.get("options") or [] if not word.startswith(("uid=", "gid="))]
    groups = [int(word[4:]) for word in one.get("options") or [] if word.startswith("gid=")]
    given += [f"gid={owner.gid(groups[-1] if groups else 0)}"]
    if one["type"] == "tmpfs":
        given += [f"uid={owner.uid(0)}"]
    return {**one, "options": given}


def _finish(spec: dict[str, Any], linux: dict[str, Any], wanted: dict[str, str]) -> list[Any]:
    """What is done inside the new root."""
    made: list[Any] = []
    sealed = [one["destination"] for one in spec.get("mounts") or [] if mounts.late(one)]
    if sealed:
        made.append(["seal", sealed])
    if spec.get("hostname") or spec.get("domainname"):
        made.append(["hostname", spec.get("hostname", ""), spec.get("domainname", "")])
    if linux.get("sysctl"):
        made.append(["sysctls", sysctls.files(linux["sysctl"], wanted)])
    if linux.get("maskedPaths") or linux.get("readonlyPaths"):
        made.append(["mask", linux.get("maskedPaths") or [], linux.get("readonlyPaths") or []])
    return made
