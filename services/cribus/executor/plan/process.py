"""runtime-spec `process` → what child/process.py does. Source: runtime-spec config.md "Process". Pure."""

import resource
from typing import Any

from cribus.errors import InvalidArgument
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
    profile = linux.get("seccomp")
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
        "seccomp": seccomp.compile(profile) if profile else b"",
        "seccomp_flags": seccomp.flags(profile) if profile else 0,
        "rlimits": [_rlimit(one) for one in process.get("rlimits") or []],
        "oom": process.get("oomScoreAdj"),
        "label": _label(process),
        **scheduling.plan(process, linux),
    }


def known() -> list[str]:
    """The capabilities that there are."""
    return list(_BITS)


def _capabilities(sets: dict[str, Any], host: Host) -> dict[str, int]:
    made = {name: sum({_bit(one) for one in sets.get(name) or []}) for name in _SETS}
    return {**made, "may": host.capabilities, "all": (1 << (host.last_capability + 1)) - 1}


def _bit(name: str) -> int:
    if name not in _BITS:
        raise InvalidArgument(f"capability {name!r} does not exist; see capabilities(7)")
    return _BITS[name]


def _rlimit(one: dict[str, Any]) -> list[int]:
    if one.get("type") not in _RLIMITS:
        raise InvalidArgument(f"rlimit {one.get('type')!r} does not exist; see getrlimit(2)")
    return [_RLIMITS[one["type"]], _bound(one["soft"]), _bound(one["hard"])]


def _bound(value: int) -> int:
    """As resource.setrlimit takes it: what the C library cannot say is unlimited."""
    return value if value < _INFINITY else resource.RLIM_INFINITY


def _label(process: dict[str, Any]) -> list[str]:
    """The file and text by which a security module learns the label of the next exec."""
    if process.get("apparmorProfile"):
        return ["/proc/self/attr/apparmor/exec", f"exec {process['apparmorProfile']}"]
    if process.get("selinuxLabel"):
        return ["/proc/self/attr/exec", process["selinuxLabel"]]
    return []
