"""A file or a directory as the stacked layers of an image show it, found without mounting them.

Links are followed through the whole stack, as in a container; whiteouts and opaque directories hide what
lies below. What an image says cannot lead outside, and no device or fifo is ever opened.
"""

import os
import stat
from collections.abc import Sequence

from cribus.images import whiteouts
from cribus.linux import files

LIMIT = 256 << 10  # bytes of a file that are looked at
_LINKS = 40  # as many links as the kernel follows
_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def read(layers: Sequence[str], path: str) -> bytes:
    """The first 256 KiB of a regular file; empty when there is none. `layers` are top first."""
    fd, _ = _followed(layers, path)
    if fd < 0:
        return b""
    try:
        return _content(fd) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)


def directories(layers: Sequence[str], path: str) -> list[str]:
    """What each layer has of a directory, top first: stacked they show just that. Empty when there is none."""
    fd, parts = _followed(layers, path)
    if fd < 0:
        return []
    os.close(fd)
    found = []
    for layer in layers:
        fd, last = _in_layer(layer, parts)
        if fd >= 0:
            is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
            os.close(fd)
            if not is_directory:
                break
            found.append("/".join([layer, *parts]))
        if last:
            break
    return found


def _followed(layers: Sequence[str], path: str) -> tuple[int, list[str]]:
    """An O_PATH descriptor of what a path leads to, or -1; and where that stands, with no links on the way."""
    left = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    done: list[str] = []
    links = 0
    fd = find(layers, done)
    while left and fd >= 0:
        part = left.pop()
        os.close(fd)
        done = done[:-1] if part == ".." else [*done, part]
        fd = find(layers, done)
        if fd >= 0 and stat.S_ISLNK(os.fstat(fd).st_mode):
            links += 1
            target = os.readlink("", dir_fd=fd)
            done = [] if target.startswith("/") else done[:-1]
            left += [one for one in reversed(target.split("/")) if one not in ("", ".")]
            os.close(fd)
            fd = find(layers, done) if links <= _LINKS else -1
    return fd, done


def _content(fd: int) -> bytes:
    with open(f"/proc/self/fd/{fd}", "rb") as file:
        return file.read(LIMIT)


def find(layers: Sequence[str], parts: list[str]) -> int:
    """An O_PATH descriptor of what stands at `parts` (no links on the way), or -1."""
    for layer in layers:
        fd, last = _in_layer(layer, parts)
        if fd >= 0 or last:
            return fd
    return -1


def _in_layer(layer: str, parts: list[str]) -> tuple[int, bool]:
    """(descriptor or -1, whether what this layer says hides the layers below: from a directory that is
    found here those of the same path, from anything else all)."""
    above = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    opaque = False
    try:
        for number, part in enumerate(parts):
            try:
                fd = files.openat2(above, part, _PATH, files.RESOLVE_BENEATH)
            except OSError:  # not here, or below something that is no directory here
                return -1, opaque
            os.close(above)
            above = fd
            found = os.fstat(fd)
            if whiteouts.is_whiteout(found):
                return -1, True
            if stat.S_ISDIR(found.st_mode):
                opaque = opaque or whiteouts.is_opaque(f"/proc/self/fd/{fd}")
            elif number < len(parts) - 1:
                return -1, True
            else:
                opaque = True
        found_fd, above = above, -1
        return found_fd, opaque
    finally:
        if above >= 0:
            os.close(above)
