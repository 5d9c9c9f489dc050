"""inotify(7): news about files, without polling."""

import os
import struct

from cribus.linux import libc

IN_MODIFY = 0x2
IN_ATTRIB = 0x4
IN_CLOSE_WRITE = 0x8
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000
IN_ONLYDIR = 0x1000000
_HEAD = struct.Struct("iIII")


def init() -> int:
    """A new instance: a non-blocking, close-on-exec descriptor. Raises OSError."""
    return libc.call("inotify_init1", libc.SYS_INOTIFY_INIT1, os.O_NONBLOCK | os.O_CLOEXEC)


def add_watch(fd: int, path: str, mask: int) -> int:
    """Watch `path`: the watch's number. Raises OSError."""
    return libc.call("inotify_add_watch", libc.SYS_INOTIFY_ADD_WATCH, fd, libc.path(path), mask)


def rm_watch(fd: int, watch: int) -> None:
    """Watch no longer. Raises OSError."""
    libc.call("inotify_rm_watch", libc.SYS_INOTIFY_RM_WATCH, fd, watch)


def read(fd: int) -> list[tuple[int, int, str]]:
    """What happened: (watch, mask, name in the directory or ""); [] when nothing did."""
    try:
        data = os.read(fd, 65536)
    except BlockingIOError:
        return []
    found = []
    at = 0
    while at < len(data):
        watch, mask, _, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        found.append((watch, mask, os.fsdecode(data[at : at + length].split(b"\0", 1)[0])))
        at += length
    return found
