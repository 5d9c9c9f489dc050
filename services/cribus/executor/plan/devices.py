"""Device nodes and links of a container's /dev. Source: runtime-spec config-linux.md "Default Devices". Pure."""

import os
import stat
from typing import Any

from cribus.errors import InvalidArgument
from cribus.executor.plan.idmap import Owner

_ALWAYS = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
_LINKS = [
    ["/dev/fd", "/proc/self/fd"],
    ["/dev/stdin", "/proc/self/fd/0"],
    ["/dev/stdout", "/proc/self/fd/1"],
    ["/dev/stderr", "/proc/self/fd/2"],
    ["/dev/ptmx", "pts/ptmx"],
]
_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def step(linux: dict[str, Any], owner: Owner) -> list[Any]:
    """The step that makes the spec's devices and those that every container has."""
    nodes = {f"/dev/{name}": _node(f"/dev/{name}", 0o666, (major, minor), owner) for name, major, minor in _ALWAYS}
    for device in linux.get("devices") or []:
        nodes[device["path"]] = _asked(device, owner)
    return ["devices", list(nodes.values()), _LINKS]


def _node(path: str, mode: int, numbers: tuple[int, int], owner: Owner) -> list[Any]:
    return [path, stat.S_IFCHR | mode, os.makedev(*numbers), owner.uid(0), owner.gid(0)]


def _asked(device: dict[str, Any], owner: Owner) -> list[Any]:
    kind = _KINDS.get(device.get("type", ""))
    if kind is None:
        raise InvalidArgument(f"device {device['path']}: type {device.get('type')!r} is none of c, u, b, p")
    mode = kind | (device.get("fileMode", 0o666) & 0o7777)
    number = 0 if kind == stat.S_IFIFO else os.makedev(device.get("major", 0), device.get("minor", 0))
    return [device["path"], mode, number, owner.uid(device.get("uid") or 0), owner.gid(device.get("gid") or 0)]


def allowed(rules: list[dict[str, Any]], *, terminal: bool) -> list[dict[str, Any]]:
    """The device cgroup's rules: the spec's own, and what every container may use after them."""
    always = [{"allow": True, "type": "c", "major": m, "minor": n, "access": "rwm"} for _, m, n in _ALWAYS]
    always += [
        {"allow": True, "type": "c", "major": 136, "minor": -1, "access": "rwm"},  # ptys
        {"allow": True, "type": "c", "major": 5, "minor": 2, "access": "rwm"},  # ptmx
        {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rwm"},  # net/tun, as runc has it
        {"allow": True, "type": "c", "major": -1, "minor": -1, "access": "m"},
        {"allow": True, "type": "b", "major": -1, "minor": -1, "access": "m"},
    ]
    if terminal:
        always.append({"allow": True, "type": "c", "major": 5, "minor": 1, "access": "rwm"})
    everything = any(rule.get("allow") and not rule.get("type") and "major" not in rule for rule in rules[-1:])
    return rules if everything or not rules else [*rules, *always]
