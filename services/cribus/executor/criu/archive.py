"""criu's images, before criu sees them: they come from whoever made the archive, and criu does as root what they say.

What would reach beyond the container while it is brought back is refused here: images that have no place in one of
ours, processes outside of namespaces of their own, mounts of other kinds, files that are no container's. What comes
of the rest is looked at before it runs (look.py). An image is a magic number of 8 bytes (the inventory: of 4) and
messages of protocol buffers, each behind its length (4 bytes, little endian).
Sources: CRIU, images/*.proto; protobuf.dev, "Encoding".
"""

import json
import os
import re
import stat
from collections.abc import Iterator
from typing import Any, NamedTuple

from cribus.errors import InvalidArgument
from cribus.executor.criu.dump import DESCRIPTORS
from cribus.executor.plan import seccomp
from cribus.linux import files

_KNOWN = re.compile(
    r"(inventory|pstree|files|seccomp|cgroup|pipes-data|fifo-data|sk-queues|remap-fpath|filelocks|memfd|tty-info|"
    r"tty-data|inotify-wd|eventpoll-tfd|timerfd|(core|ids|mm|pagemap|pages|fs|fdinfo|sigacts|creds|rlimit|itimers|"
    r"posix-timers|signal-s|signal-p|mountpoints|timens|pagemap-shmem|pidns)-\d{1,20}|ghost-file-[0-9a-f]{1,16}|"
    r"tmpfs(-dev)?-\d{1,10}\.tar\.gz)\.img|stats-dump|descriptors\.json"
)
_MAGIC = (0x54564319, 0x55105940)
_INVENTORY = 0x58313116
_LONGEST = 8 << 20  # bytes of an image that is read here
# Kinds of mounts that a container has (mnt.proto): proc, sysfs, tmpfs, devpts, cgroup, mqueue, overlay, cgroup2,
# and what comes from outside, of which the kind says nothing.
_MOUNTS = {1, 2, 5, 6, 12, 14, 17, 23}
# Kinds of open files (fdinfo.proto): all but packet and netlink sockets, namespaces, tun, fanotify, external ones
# and eBPF. What those may do depends on who opened them, and criu would, as root.
_FILES = {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 17, 18, 20}
_INET, _STREAM, _DATAGRAM = 4, 1, 2
_NAMESPACES = {"net": 6, "ipc": 7, "uts": 8, "user": 10}  # that are the pod's: fields of their ids
_OWN = {"pid": 5, "mnt": 9}

Message = dict[int, list[Any]]


class Told(NamedTuple):
    """What the images say of themselves: what each standard stream was, and where mounts came from outside."""

    streams: list[str]
    outside: list[str]


def check(folder: str, spec: dict[str, Any]) -> Told:
    """Raises InvalidArgument for images that are not let near criu. Reads and computes: for a thread."""
    for name in os.listdir(folder):
        found = os.lstat(f"{folder}/{name}")
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or not _KNOWN.fullmatch(name):
            raise InvalidArgument(f"the checkpoint has {name!r}, which no container of ours can have")
    _namespaces(folder)
    outside = _mounts(folder)
    _files(folder)
    _filters(folder, spec)
    return Told(_descriptors(folder), outside)


def _refused(why: str) -> InvalidArgument:
    return InvalidArgument(f"the checkpoint {why}")


def fields(data: bytes) -> Message:
    """A message's fields by number: numbers, and bytes. Raises InvalidArgument."""
    found: Message = {}
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        value: Any
        if kind == 0:
            value, at = _varint(data, at)
        elif kind == 2:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
        elif kind in (1, 5):
            value, at = data[at : at + (8 if kind == 1 else 4)], at + (8 if kind == 1 else 4)
        else:
            raise _refused("is damaged: a message is none")
        if at > len(data):
            raise _refused("is damaged: a message is cut off")
        found.setdefault(key >> 3, []).append(value)
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise _refused("is damaged: a number has no end")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if not data[at - 1] & 0x80:
            return value, at
        shift += 7


def messages(folder: str, name: str) -> list[Message]:
    """All messages of an image. Raises InvalidArgument, also when it is not there."""
    path = f"{folder}/{name}.img"
    try:
        if os.lstat(path).st_size > _LONGEST:
            raise _refused(f"has a {name} of more than {_LONGEST} bytes")
        data = files.read(path)
    except FileNotFoundError as error:
        raise _refused(f"has no {name}") from error
    magic = int.from_bytes(data[:4], "little")
    if magic not in (*_MAGIC, _INVENTORY):
        raise _refused(f"has a {name} that is no image of criu")
    return list(_framed(data, 4 if magic == _INVENTORY else 8))


def _framed(data: bytes, at: int) -> Iterator[Message]:
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        at += 4 + size
        if at > len(data):
            raise _refused("is damaged: an image is cut off")
        yield fields(data[at - size : at])


def _one(message: Message, field: int, default: Any = 0) -> Any:
    """An optional field: of several the last one counts."""
    return message.get(field, [default])[-1]


def _namespaces(folder: str) -> None:
    """Every process is in one mount and one PID namespace that were not criu's, and otherwise where criu was."""
    inventory = messages(folder, "inventory")
    outside = fields(_one(inventory[0], 3, b"")) if len(inventory) == 1 else {}
    processes = messages(folder, "pstree")
    if not outside or not processes:
        raise _refused("does not say what it is of")
    own: dict[str, int] = {}
    for one in processes:
        ids = messages(folder, f"ids-{_one(one, 1)}")
        if len(ids) != 1:
            raise _refused("has a process without namespaces")
        for kind, field in _NAMESPACES.items():
            if _one(ids[0], field) != _one(outside, field):
                raise _refused(f"brings a {kind} namespace of its own, where the pod's is to be used")
        for kind, field in _OWN.items():
            here = _one(ids[0], field)
            if not here or here == _one(outside, field) or own.setdefault(kind, here) != here:
                raise _refused(f"has a process that is not in the container's {kind} namespace")


def _mounts(folder: str) -> list[str]:
    """The places of those from outside; that the request has the same there is for `look` to see."""
    images = [name for name in os.listdir(folder) if name.startswith("mountpoints-")]
    if len(images) != 1:
        raise _refused("has not the mounts of one container")
    outside: list[str] = []
    for one in messages(folder, images[0][:-4]):
        place = bytes(_one(one, 7, b"")).decode(errors="replace")
        if _one(one, 1) not in _MOUNTS and not _one(one, 13) and not _one(one, 18, b"") and place not in ("/", "./"):
            raise _refused(f"mounts something at {place} that containers do not have")
        if _one(one, 12):
            raise _refused("needs a plugin of criu's")
        if 18 in one:
            outside.append(_place(bytes(_one(one, 18)).decode(errors="replace")))
    return outside


def _place(name: str) -> str:
    if not name.startswith("/") or ".." in name.split("/") or any(word in name for word in "[]:\n"):
        raise _refused(f"has something mounted at {name!r}, which is no place")
    return name


def _files(folder: str) -> None:
    for one in messages(folder, "files"):
        kind = _one(one, 1)
        socket = fields(_one(one, 4, b"")) if kind == _INET else {}
        if kind not in _FILES or (socket and _one(socket, 4) not in (_STREAM, _DATAGRAM)):
            raise _refused(f"has an open file of kind {kind}, which is not brought back")


def _filters(folder: str, spec: dict[str, Any]) -> None:
    """Below all that processes have added the filter of the request is the first."""
    profile = (spec.get("linux") or {}).get("seccomp")
    if not profile:
        return
    wanted = seccomp.compile(profile)
    chains = [fields(one) for whole in messages(folder, "seccomp") for one in whole.get(1, [])]
    for number, one in enumerate(chains):
        first = 2 not in one
        if first and _one(one, 1, b"") != wanted:
            raise _refused("was made under another seccomp profile than the request wants")
        if not first and not _one(one, 2) < number:
            raise _refused("has seccomp filters that are not in line")
    if not chains:
        raise _refused("has no seccomp filter, and the request wants one")


def _descriptors(folder: str) -> list[str]:
    """As `descriptors.json` has them. Raises InvalidArgument."""
    try:
        found = json.loads(files.read(f"{folder}/{DESCRIPTORS}")[:4096])
    except (FileNotFoundError, ValueError) as error:
        raise _refused("does not say what the container's standard streams were") from error
    if not isinstance(found, list) or len(found) != 3 or not all(isinstance(one, str) for one in found):
        raise _refused("does not say what the container's standard streams were")
    if any(re.fullmatch(r"pipe:\[\d{1,12}\]", one) is None for one in found[1:]):
        raise _refused("is of a container whose output was no pipe")
    return found
