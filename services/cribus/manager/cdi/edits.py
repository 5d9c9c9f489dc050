"""What a container asks for, and CDI's edits put into a runtime-spec (Container Device Interface, SPEC.md,
"OCI Edits")."""

import os
from typing import Any, cast

import msgspec

from cribus.api.cri.container import ContainerConfig
from cribus.errors import InvalidArgument
from cribus.manager import expendable, looks
from cribus.manager.cdi import specs
from cribus.oci.runtime_spec import Device, DeviceRule, Mount, Spec

_ANNOTATION = "cdi.k8s.io/"


def asked(config: ContainerConfig) -> list[str]:
    """Names of devices: those of CRI's field, then those of annotations, each once."""
    found = [one.name for one in config.CDI_devices]
    for key, value in sorted(config.annotations.items()):
        if key.startswith(_ANNOTATION):
            found += value.split(",")
    return list(dict.fromkeys(found))


async def inject(spec: Spec, names: list[str], directories: tuple[str, ...] = specs.DIRECTORIES) -> Spec:
    """The spec with what these devices need; the one given stays as it is.

    Raises InvalidArgument or NotFound that names the device, DeadlineExceeded when its files hang.
    """
    if not names:
        return spec
    wanted = [specs.named(name) for name in names]

    def look() -> list[specs.Edits]:
        return [_described(edits) for edits in specs.find(wanted, directories)]

    changed = cast(Spec, msgspec.json.decode(msgspec.json.encode(spec)))
    for edits in await expendable.run(look, "reading CDI specifications"):
        apply(changed, edits)
    return changed


def _described(edits: specs.Edits) -> specs.Edits:
    """With the numbers of devices that leave them to the host."""
    return msgspec.structs.replace(edits, deviceNodes=[_node(node) for node in edits.deviceNodes])


def _node(node: specs.DeviceNode) -> specs.DeviceNode:
    if node.type == "p" or (node.type and node.major):
        return node
    path = node.hostPath or node.path
    try:
        seen = looks.describe(path, os.stat(path))
    except OSError as error:
        raise InvalidArgument(f"CDI device node {path}: {error.strerror}") from error
    if seen is None or (node.type and node.type.replace("u", "c") != seen["type"]):
        raise InvalidArgument(f"CDI device node {path} is no device of type {node.type or 'b or c'}")
    mode = seen["fileMode"] if node.fileMode is None else node.fileMode
    return msgspec.structs.replace(node, type=seen["type"], major=seen["major"], minor=seen["minor"], fileMode=mode)


def apply(spec: Spec, edits: specs.Edits) -> None:
    """Change the spec."""
    process, linux = spec["process"], cast(dict[str, Any], spec["linux"])
    process["env"] = _laid_over(process.get("env", []), edits.env)
    for node in edits.deviceNodes:
        _device(spec, node)
    for mount in edits.mounts:
        _mount(spec, mount)
    for hook in edits.hooks:
        made = {"path": hook.path, "args": hook.args, "env": hook.env, "timeout": hook.timeout}
        hooks = cast(dict[str, list[dict[str, Any]]], spec.setdefault("hooks", {}))
        hooks.setdefault(hook.hookName, []).append({name: value for name, value in made.items() if value})
    for device in edits.netDevices:
        linux.setdefault("netDevices", {})[device.hostInterfaceName] = {"name": device.name}
    if edits.intelRdt is not None:
        given = msgspec.to_builtins(edits.intelRdt)
        linux["intelRdt"] = {name: value for name, value in given.items() if value}
    groups = process["user"].get("additionalGids", [])
    process["user"]["additionalGids"] = list(dict.fromkeys([*groups, *(gid for gid in edits.additionalGids if gid)]))


def _laid_over(entries: list[str], more: list[str]) -> list[str]:
    names = {entry.partition("=")[0] for entry in more}
    return [entry for entry in entries if entry.partition("=")[0] not in names] + more


def _device(spec: Spec, node: specs.DeviceNode) -> None:
    """The node, for whoever the container runs as where it says nothing, and the right to use it."""
    user = spec["process"]["user"]
    device: Device = {"path": node.path, "type": node.type, "major": node.major, "minor": node.minor}
    device["uid"] = user["uid"] if node.uid is None else node.uid
    device["gid"] = user["gid"] if node.gid is None else node.gid
    if node.fileMode is not None:
        device["fileMode"] = node.fileMode
    others = [one for one in spec["linux"].get("devices", []) if one["path"] != node.path]
    spec["linux"]["devices"] = [*others, device]
    if node.type == "p":
        return
    rule: DeviceRule = {"allow": True, "type": node.type.replace("u", "c"), "access": node.permissions or "rwm"}
    rule |= {"major": node.major, "minor": node.minor}
    resources = spec["linux"].setdefault("resources", {})
    resources["devices"] = [*resources.get("devices", []), rule]


def _mount(spec: Spec, mount: specs.Mount) -> None:
    """In the place of one that was there; never above one that lies deeper."""
    options = list(mount.options)
    kind = mount.type or "bind"
    if kind == "bind" and not {"bind", "rbind"} & set(options):
        options.append("rbind")
    made: Mount = {"destination": mount.containerPath, "source": mount.hostPath, "type": kind, "options": options}
    others = [one for one in spec.get("mounts", []) if _clean(one["destination"]) != _clean(mount.containerPath)]
    spec["mounts"] = sorted([*others, made], key=lambda one: len(_clean(one["destination"])))


def _clean(path: str) -> list[str]:
    return [part for part in path.split("/") if part]
