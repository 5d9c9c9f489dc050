"""Whiteouts: what an image says a layer takes away, as overlayfs says it.

`.wh.NAME` becomes a character device 0:0 of that NAME, `.wh..wh..opq` the attribute that makes its
directory opaque. A whiteout hides what lower layers have, never what its own layer has: where both are,
what there is becomes opaque. Sources: image-spec layer.md "Whiteouts"; kernel, filesystems/overlayfs.
"""

import os
import stat

from cribus.errors import InvalidArgument

PREFIX = ".wh."
OPAQUE = ".wh..wh..opq"
_OPAQUE_ATTRIBUTE = "trusted.overlay.opaque"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def apply(parent: int, name: str) -> bool:
    """Whether `name` was a whiteout, which is then made in the directory `parent`. Raises OSError, InvalidArgument."""
    if not name.startswith(PREFIX):
        return False
    if name == OPAQUE:
        make_opaque(parent)
    elif not name.startswith(".wh..wh."):  # what else aufs left there means nothing to an image
        hidden = name[len(PREFIX) :]
        if hidden in ("", ".", ".."):
            raise InvalidArgument(f"the layer has a whiteout {name!r}, which names nothing")
        try:
            os.mknod(hidden, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(hidden, dir_fd=parent, follow_symlinks=False).st_mode):
                fd = os.open(hidden, _DIRECTORY, dir_fd=parent)
                try:
                    make_opaque(fd)
                finally:
                    os.close(fd)
    return True


def make_opaque(directory: int) -> None:
    os.setxattr(directory, _OPAQUE_ATTRIBUTE, b"y")


def is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def is_opaque(path: str) -> bool:
    try:
        return os.getxattr(path, _OPAQUE_ATTRIBUTE) == b"y"
    except OSError:
        return False


def remove_tree(parent: int, name: str) -> None:
    """Remove a directory of a layer, by descriptor, following no link."""
    fd = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        for entry in os.listdir(fd):
            try:
                os.unlink(entry, dir_fd=fd)
            except IsADirectoryError:
                remove_tree(fd, entry)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent)
