"""CDI specifications: files by which vendors say what a container needs for a device (Container Device
Interface, SPEC.md 1.1). Read anew for each container that asks for one: they come and go with drivers."""

import os
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from cribus.errors import InvalidArgument, NotFound
from cribus.oci.validate import HOOKS

DIRECTORIES = ("/etc/cdi", "/var/run/cdi")  # what a later one says of a device counts
_VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0")
_VENDOR = re.compile(r"[A-Za-z]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_CLASS = re.compile(r"[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?")
_DEVICE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?")


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A field that we do not know is one that we would not do."""


class DeviceNode(_Part, frozen=True):
    path: str
    hostPath: str = ""
    type: str = ""
    major: int = 0
    minor: int = 0
    fileMode: int | None = None
    permissions: str = ""
    uid: int | None = None
    gid: int | None = None


class Mount(_Part, frozen=True):
    hostPath: str
    containerPath: str
    options: list[str] = []
    type: str = ""


class Hook(_Part, frozen=True):
    hookName: str
    path: str
    args: list[str] = []
    env: list[str] = []
    timeout: int | None = None


class NetDevice(_Part, frozen=True):
    hostInterfaceName: str
    name: str


class IntelRdt(_Part, frozen=True):
    closID: str = ""
    l3CacheSchema: str = ""
    memBwSchema: str = ""
    schemata: list[str] = []
    enableMonitoring: bool = False
    enableCMT: bool = False
    enableMBM: bool = False


class Edits(_Part, frozen=True):
    env: list[str] = []
    deviceNodes: list[DeviceNode] = []
    netDevices: list[NetDevice] = []
    hooks: list[Hook] = []
    mounts: list[Mount] = []
    intelRdt: IntelRdt | None = None
    additionalGids: list[int] = []


class Device(_Part, frozen=True):
    name: str
    containerEdits: Edits
    annotations: dict[str, str] = {}


class Document(_Part, frozen=True):
    """One file."""

    cdiVersion: str
    kind: str  # vendor/class
    devices: list[Device]
    containerEdits: Edits = Edits()  # for whichever of its devices
    annotations: dict[str, str] = {}


class Named(NamedTuple):
    """A device's whole name: vendor/class=device."""

    kind: str
    device: str


def named(text: str) -> Named:
    """Raises InvalidArgument for what is no such name."""
    kind, equals, device = text.partition("=")
    if not equals or not _is_kind(kind) or not _DEVICE.fullmatch(device):
        raise InvalidArgument(f"{text!r} is no name of a CDI device; an example of a good one is vendor.com/gpu=0")
    return Named(kind, device)


def find(wanted: list[Named], directories: tuple[str, ...] = DIRECTORIES) -> list[Edits]:
    """What these devices need, in their order, and before a file's first device what all in it do.

    Raises NotFound for a device that no file describes, InvalidArgument for one that two of the same
    directory do.
    """
    broken: list[str] = []
    known: dict[Named, tuple[str, Document, Device]] = {}
    for directory in directories:
        known.update(_in(directory, broken))
    edits: list[Edits] = []
    seen: set[str] = set()
    for name in dict.fromkeys(wanted):
        if name not in known:
            also = f"; unreadable there: {'; '.join(broken)}" if broken else ""
            raise NotFound(f"no file in {' or '.join(directories)} has CDI device {name.kind}={name.device}{also}")
        path, document, device = known[name]
        if len(path.split("\0")) > 1:
            both = " and ".join(path.split("\0"))
            raise InvalidArgument(f"CDI device {name.kind}={name.device} is in both {both}; remove one")
        if path not in seen:
            seen.add(path)
            edits.append(document.containerEdits)
        edits.append(device.containerEdits)
    return edits


def _in(directory: str, broken: list[str]) -> dict[Named, tuple[str, Document, Device]]:
    """The devices of one directory's files; those of several have all their paths, separated by a null byte."""
    known: dict[Named, tuple[str, Document, Device]] = {}
    for path, read in _files(directory):
        try:
            document = read()
        except (OSError, InvalidArgument) as error:
            broken.append(f"{path}: {error.message if isinstance(error, InvalidArgument) else error.strerror}")
            continue
        for device in document.devices:
            name = Named(document.kind, device.name)
            before = f"{known[name][0]}\0" if name in known else ""
            known[name] = (before + path, document, device)
    return known


def _files(directory: str) -> Iterator[tuple[str, Callable[[], Document]]]:
    try:
        names = sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        path = f"{directory}/{name}"
        if name.endswith(".json"):
            yield path, lambda path=path: _checked(_parsed(path, msgspec.json.decode))  # type: ignore[misc]
        elif name.endswith((".yaml", ".yml")):
            yield path, lambda path=path: _checked(_parsed(path, _yaml))  # type: ignore[misc]


def _yaml(data: bytes) -> object:
    import yaml  # only here: it costs 15 ms and 2 MB

    try:
        return yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise msgspec.DecodeError(str(error)) from error


def _parsed(path: str, decode: Callable[[bytes], object]) -> Document:
    with open(path, "rb") as file:
        data = file.read()
    try:
        return msgspec.convert(decode(data), Document)
    except msgspec.MsgspecError as error:
        raise InvalidArgument(str(error).replace("\n", " ")) from error


def _checked(document: Document) -> Document:
    """Raises InvalidArgument with the first thing that is wrong."""
    if document.cdiVersion not in _VERSIONS:
        raise InvalidArgument(f"cdiVersion {document.cdiVersion!r} is not known")
    if not _is_kind(document.kind):
        raise InvalidArgument(f"kind {document.kind!r} is not vendor/class")
    names = [device.name for device in document.devices]
    if not names or len(set(names)) < len(names):
        raise InvalidArgument("devices are missing, or one is there twice")
    for device in document.devices:
        if not _DEVICE.fullmatch(device.name):
            raise InvalidArgument(f"{device.name!r} cannot be a device's name")
        if device.containerEdits == Edits():
            raise InvalidArgument(f"device {device.name} changes nothing")
        _check(device.containerEdits, f"device {device.name}")
    _check(document.containerEdits, "containerEdits")
    return document


def _is_kind(kind: str) -> bool:
    vendor, slash, name = kind.partition("/")
    return bool(slash and _VENDOR.fullmatch(vendor) and _CLASS.fullmatch(name))


def _check(edits: Edits, where: str) -> None:
    for node in edits.deviceNodes:
        if not node.path.startswith("/") or node.type not in ("", "b", "c", "u", "p"):
            raise InvalidArgument(f"{where}: device node {node.path!r} has no absolute path or an unknown type")
        if set(node.permissions) - set("rwm"):
            raise InvalidArgument(f"{where}: device node {node.path}: permissions are of r, w and m")
    for mount in edits.mounts:
        if not mount.hostPath or not mount.containerPath.startswith("/"):
            raise InvalidArgument(
                f"{where}: mount {mount.containerPath!r} needs hostPath and an absolute containerPath"
            )
    for hook in edits.hooks:
        if hook.hookName not in HOOKS or not hook.path.startswith("/"):
            raise InvalidArgument(f"{where}: hook {hook.hookName!r} is not known, or its path is not absolute")
    for entry in [*edits.env, *(entry for hook in edits.hooks for entry in hook.env)]:
        if "=" not in entry[1:]:
            raise InvalidArgument(f"{where}: env {entry!r} is not NAME=value")
    if any(gid < 0 for gid in edits.additionalGids):
        raise InvalidArgument(f"{where}: additionalGids has a negative number")
