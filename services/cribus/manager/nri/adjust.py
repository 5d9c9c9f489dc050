"""What plugins want of a container that is being made, into its runtime-spec. Pure: spec in, spec out.

Resources are not here: they go CRI's way (resources.py), so that a status tells them.
"""

import copy
from typing import Any, cast

from cribus.errors import FailedPrecondition
from cribus.manager.nri import messages as m
from cribus.manager.nri.collect import REMOVE
from cribus.manager.nri.describe import OURS
from cribus.manager.nri.protobuf import plain
from cribus.oci.runtime_spec import Spec

Document = dict[str, Any]


def adjusted(spec: Spec, wanted: m.ContainerAdjustment) -> Spec:
    """The document as it shall be; the given one stays as it is.

    Raises FailedPrecondition for what must not be changed.
    """
    made = cast(Document, copy.deepcopy(spec))
    process = made.setdefault("process", {})
    _annotations(made.setdefault("annotations", {}), wanted.annotations)
    process["env"] = _env(process.get("env", []), wanted.env)
    if wanted.args:
        process["args"] = wanted.args
    if wanted.hooks is not None:
        _hooks(made.setdefault("hooks", {}), wanted.hooks)
    made["mounts"] = _mounts(made, wanted.mounts)
    _rlimits(process, wanted.rlimits)
    if wanted.linux is not None:
        _linux(made, wanted.linux)
    return cast(Spec, made)


def _annotations(known: dict[str, str], wanted: dict[str, str]) -> None:
    for name, text in wanted.items():
        bare = name.removeprefix(REMOVE)
        if bare.startswith(OURS):
            raise FailedPrecondition(f"annotation {bare} is the runtime's own; an NRI plugin cannot change it")
        if name.startswith(REMOVE):
            known.pop(bare, None)
        else:
            known[name] = text


def _env(known: list[str], wanted: list[m.KeyValue]) -> list[str]:
    """In the place of what they replace, or behind."""
    made = {entry.partition("=")[0]: entry for entry in known}
    for one in wanted:
        if one.key.startswith(REMOVE):
            made.pop(one.key[1:], None)
        else:
            made[one.key] = f"{one.key}={one.value}"
    return list(made.values())


def _hooks(known: Document, wanted: m.Hooks) -> None:
    for name in m.Hooks.__struct_fields__:
        more = [plain(one) for one in getattr(wanted, name)]
        if more:
            known[name] = [*known.get(name, []), *more]


def _mounts(made: Document, wanted: list[m.Mount]) -> list[Document]:
    """Parents before their children. The root filesystem and the order of equals stay."""
    known: list[Document] = made.get("mounts", [])
    if not wanted:
        return known
    gone = {_clean(one.destination.removeprefix(REMOVE)) for one in wanted}
    if "/" in gone:
        raise FailedPrecondition("an NRI plugin mounts over, or removes, the container's root")
    found = [one for one in known if _clean(one["destination"]) not in gone]
    for one in wanted:
        if not one.destination.startswith(REMOVE):
            found.append(plain(one))
            _propagation(made, one.options)
    return sorted(found, key=lambda one: _depth(one["destination"]))


def _clean(path: str) -> str:
    return path.rstrip("/") or "/"


def _depth(path: str) -> int:
    clean = _clean(path)
    return 0 if clean == "/" else clean.count("/")


def _propagation(made: Document, options: list[str]) -> None:
    """Mounts that are to come through need a root that lets them."""
    linux = made.setdefault("linux", {})
    if "rshared" in options:
        linux["rootfsPropagation"] = "rshared"
    elif "rslave" in options and linux.get("rootfsPropagation") not in ("rshared", "rslave"):
        linux["rootfsPropagation"] = "rslave"


def _rlimits(process: Document, wanted: list[m.Rlimit]) -> None:
    names = {one.type for one in wanted}
    kept = [one for one in process.get("rlimits", []) if one["type"] not in names]
    if wanted:
        process["rlimits"] = kept + [{"type": one.type, "hard": one.hard, "soft": one.soft} for one in wanted]


def _linux(made: Document, wanted: m.LinuxContainerAdjustment) -> None:
    linux, process = made.setdefault("linux", {}), made["process"]
    _devices(linux, wanted.devices)
    _namespaces(linux, wanted.namespaces)
    for name, text in wanted.sysctl.items():
        _put(linux, "sysctl", name, text)
    for name, device in wanted.net_devices.items():
        _put(linux, "netDevices", name, plain(device))
    if wanted.cgroups_path:
        linux["cgroupsPath"] = wanted.cgroups_path
    if wanted.oom_score_adj is not None:
        process["oomScoreAdj"] = wanted.oom_score_adj
    if wanted.seccomp_policy is not None:
        linux["seccomp"] = plain(wanted.seccomp_policy)
    _scheduling(linux, process, wanted)
    _rdt(linux, wanted)


def _put(parent: Document, place: str, name: str, value: object) -> None:
    known = parent.setdefault(place, {})
    if name.startswith(REMOVE):
        known.pop(name[1:], None)
    else:
        known[name] = value


def _devices(linux: Document, wanted: list[m.Device]) -> None:
    paths = {one.path.removeprefix(REMOVE) for one in wanted}
    added = [one for one in wanted if not one.path.startswith(REMOVE)]
    kept = [one for one in linux.get("devices", []) if one["path"] not in paths]
    if wanted:
        linux["devices"] = kept + [plain(one) for one in added]
    rules = linux.setdefault("resources", {}).setdefault("devices", [])
    for one in added:
        access = "rwm" if one.type == "b" else "rw"
        rules.append({"allow": True, "type": one.type, "major": one.major, "minor": one.minor, "access": access})


def _namespaces(linux: Document, wanted: list[m.Namespace]) -> None:
    kinds = {one.type.removeprefix(REMOVE) for one in wanted}
    kept = [one for one in linux.get("namespaces", []) if one["type"] not in kinds]
    added = [plain(one) for one in wanted if not one.type.startswith(REMOVE)]
    linux["namespaces"] = kept + added


def _scheduling(linux: Document, process: Document, wanted: m.LinuxContainerAdjustment) -> None:
    io, scheduler, memory = wanted.io_priority, wanted.scheduler, wanted.memory_policy
    if io is not None:
        process.pop("ioPriority", None)
        if io.kind:
            process["ioPriority"] = {"class": _named(m.IO_CLASSES, io.kind), "priority": io.priority}
    if scheduler is not None:
        process.pop("scheduler", None)
        if scheduler.policy:
            flags = [_named(m.SCHEDULER_FLAGS, one) for one in scheduler.flags]
            told = {"policy": _named(m.POLICIES, scheduler.policy), "flags": flags}
            process["scheduler"] = {**plain(scheduler), **told}
    if memory is not None:
        flags = [_named(m.MEMORY_FLAGS, one) for one in memory.flags]
        linux["memoryPolicy"] = {"mode": _named(m.MEMORY_MODES, memory.mode), "nodes": memory.nodes, "flags": flags}


def _named(names: tuple[str, ...], number: int) -> str:
    if not 0 <= number < len(names):
        raise FailedPrecondition(f"an NRI plugin names number {number} of {', '.join(filter(None, names))}")
    return names[number]


def _rdt(linux: Document, wanted: m.LinuxContainerAdjustment) -> None:
    name = wanted.resources.rdt_class if wanted.resources else None
    if name is not None or (wanted.rdt is not None and wanted.rdt.remove):
        linux.pop("intelRdt", None)
    rdt: Document = {"closID": name} if name else {}
    if wanted.rdt is not None:
        given = plain(wanted.rdt)
        rdt |= {name: given[name] for name in m.Rdt.__struct_fields__[:3] if name in given}
    if rdt:
        linux["intelRdt"] = {**linux.get("intelRdt", {}), **rdt}
