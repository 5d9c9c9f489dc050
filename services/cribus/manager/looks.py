"""Looking at paths that a client named, in a process that can be given up: any of them may lie on a file system
that never answers (a dead NFS server, a FUSE program that hangs), and a process that waits for such a one cannot
even be killed. Run by looker.py, as a program; loads next to nothing.

A line of JSON on standard input asks: {"id", "look", "path"}. A line on standard output answers: {"id", "found"} or
{"id", "errno", "text"}. Each look has a thread of its own, so that one that hangs delays no other.
"""

import _thread
import errno
import json
import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cribus.oci.runtime_spec import Device

# /dev of a privileged container: not what the runtime makes or mounts itself
_NOT_DEVICES = ("pts", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-mounts", ".udev")


def source(path: str) -> str:
    """The path behind one that is to be mounted, made as a directory when it is missing, as containerd does."""
    if not os.path.exists(path):
        os.makedirs(path, 0o755, exist_ok=True)
    return os.path.realpath(path, strict=True)


def text(path: str) -> str:
    """A whole file. Raises OSError, UnicodeDecodeError."""
    with open(path, encoding="utf-8") as file:
        return file.read()


def nodes(path: str) -> "dict[str, Any]":
    """The device node that is there, or all below a directory. Raises OSError, also for what is neither."""
    real = os.path.realpath(path)
    if os.path.isdir(real):
        return {"path": real, "devices": devices(real)}
    device = describe(real, os.stat(real))
    if device is None:
        raise OSError(errno.ENODEV, "it is no device node")
    return {"path": real, "devices": [device]}


def devices(folder: str = "/dev") -> "list[Device]":
    """Every device node below a folder; of /dev those that a privileged container gets.

    What vanishes while it is looked at is left out.
    """
    found: list[Device] = []
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        if folder == "/dev" and entry.name in _NOT_DEVICES:
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                found += devices(entry.path)
            else:
                device = describe(entry.path, entry.stat(follow_symlinks=False))
                if device is not None:
                    found.append(device)
        except FileNotFoundError:
            continue
    return found


def place(path: str) -> "dict[str, bool]":
    """Whether a file can be made there: its directory, and what has the name already."""
    there = os.path.lexists(path)
    return {"parent": os.path.isdir(os.path.dirname(path)), "there": there, "file": there and os.path.isfile(path)}


def empty(path: str) -> bool:
    """Whether it is a directory without content."""
    return os.path.isdir(path) and not os.listdir(path)


def describe(path: str, seen: os.stat_result) -> "Device | None":
    """A device node as the runtime-spec has it; None for what is no device."""
    kind = "c" if stat.S_ISCHR(seen.st_mode) else "b" if stat.S_ISBLK(seen.st_mode) else ""
    if not kind:
        return None
    return {
        "type": kind,
        "path": path,
        "major": os.major(seen.st_rdev),
        "minor": os.minor(seen.st_rdev),
        "fileMode": stat.S_IMODE(seen.st_mode),
        "uid": seen.st_uid,
        "gid": seen.st_gid,
    }


LOOKS: "dict[str, Callable[[str], Any]]" = {
    "source": source,
    "text": text,
    "nodes": nodes,
    "place": place,
    "empty": empty,
}


def _look(id: int, look: str, path: str) -> None:
    try:
        answer = {"id": id, "found": LOOKS[look](path)}
    except OSError as error:
        answer = {"id": id, "errno": error.errno or 0, "text": error.strerror or str(error)}
    except ValueError as error:
        answer = {"id": id, "errno": 0, "text": str(error)}
    data = memoryview(json.dumps(answer).encode() + b"\n")
    with _writing:
        while data:
            data = data[os.write(1, data) :]


_writing = _thread.allocate_lock()


def main() -> None:
    """Until standard input ends. A look that hangs does not keep the others, nor this process, from their end."""
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        _thread.start_new_thread(_look, (asked["id"], asked["look"], asked["path"]))
    os._exit(0)


if __name__ == "__main__":
    main()
