"""runtime-spec `process` → what child/process.py does. Source: runtime-spec config.md "Process". Pure."""

import resource
from typing import Any

from cribus.errors import FailedPrecondition, InvalidArgument
from cribus.executor.plan import scheduling, seccomp
from cribus.executor.plan.host import Host
from cribus.executor.plan.idmap import Owner
from cribus.linux import capabilities

_BITS = {f"CAP_{name}": 1 << number for number, name in enumerate(capabilities.NAMES)}
_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
_RLIMITS = {name: getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
_INFINITY = (1 << 63) - 1


def plan(process: dict[str, Any], linux: dict[str, Any], host: Host) -> dict[str, Any]:
    """The whole process. Raises InvalidArgument for what does not exist."""
    user = process.get("user") or {}
    size = process.get("consoleSize") or {}
    profile = linux.get("seccomp") or {}
    filtered = seccomp.filters(profile)
    if not process.get("args"):
        raise InvalidArgument("process.args is empty; name the program to run")
    return {
        "args": process["args"],
        "env": process.get("env") or [],
        "cwd": process.get("cwd") or "/",
        "uid": user.get("uid", 0),
        "gid": user.get("gid", 0),
        "owner": Owner(linux).uid(user.get("uid", 0)),
        "groups": user.get("additionalGids") or [],
        "umask": user.get("umask", 0o022),
        "terminal": bool(process.get("terminal")),
        "size": [size.get("height", 0), size.get("width", 0)] if size else [],
        "capabilities": _capabilities(process.get("capabilities") or {}, host),
        "no_new_privs": bool(process.get("noNewPrivileges")),
        "seccomp": seccomp.compile(profile) if filtered else b"",
        "seccomp_flags": seccomp.flags(profile) if filtered else 0,
        "rlimits": [_rlimit(one) for one in process.get("rlimits") or []],
        "oom": process.get("oomScoreAdj"),
        "labels": _labels(process, host),
        **scheduling.plan(process, linux),
    }


def ignored(process: dict[str, Any], host: Host, *, users: bool) -> list[str]:
    """What of its capabilities it will not have, by name; `users`: in a user namespace of its own it may have all.
    The runtime-spec wants this told, not refused."""
    sets = process.get("capabilities") or {}
    may = {name for name, bit in _BITS.items() if users or host.capabilities & bit}
    absent = {name for kind in _SETS for name in sets.get(kind) or []} - may
    names = ", ".join(sorted(absent))
    found = [f"process.capabilities: {names} cannot be given on this host and is left out"] if absent else []
    for kind, others in (("effective", ("permitted",)), ("ambient", ("permitted", "inheritable"))):
        within = set.intersection(*(set(sets.get(other) or []) for other in others))
        if beyond := ", ".join(sorted(may & set(sets.get(kind) or []) - within)):
            found.append(f"process.capabilities.{kind}: {beyond} is not {' and '.join(others)} and is left out")
    return found


def known() -> list[str]:
    """The capabilities that there are."""
    return list(_BITS)


def _capabilities(sets: dict[str, Any], host: Host) -> dict[str, int]:
    made = {name: sum({_BITS.get(one, 0) for one in sets.get(name) or []}) for name in _SETS}
    return {**made, "may": host.capabilities, "all": (1 << (host.last_capability + 1)) - 1}


def _rlimit(one: dict[str, Any]) -> list[int]:
    if one.get("type") not in _RLIMITS:
        raise InvalidArgument(f"rlimit {one.get('type')!r} does not exist; see getrlimit(2)")
    return [_RLIMITS[one["type"]], _bound(one["soft"]), _bound(one["hard"])]


def _bound(value: int) -> int:
    """As resource.setrlimit takes it: what the C library cannot say is unlimited."""
    return value if value < _INFINITY else resource.RLIM_INFINITY


def _labels(process: dict[str, Any], host: Host) -> list[list[str]]:
    """The files and texts by which security modules learn the label of the next exec. Raises FailedPrecondition."""
    found = []
    if process.get("apparmorProfile"):
        if not host.apparmor:
            raise FailedPrecondition("process.apparmorProfile: this host has no AppArmor; enable it or leave it out")
        found.append(["/proc/self/attr/apparmor/exec", f"exec {process['apparmorProfile']}"])
    if process.get("selinuxLabel"):
        if not host.selinux:
            raise FailedPrecondition("process.selinuxLabel: this host has no SELinux; enable it or leave it out")
        found.append(["/proc/self/attr/exec", process["selinuxLabel"]])
    return found
