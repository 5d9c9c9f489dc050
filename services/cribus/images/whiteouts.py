"""Whiteouts: what an image says a layer takes away, as overlayfs says it.

`.wh.NAME` becomes a character device 0:0 of that NAME, `.wh..wh..opq` the attribute that makes its
directory opaque. Sources: image-spec layer.md "Whiteouts"; kernel, filesystems/overlayfs.
"""

import contextlib
import os
import stat

PREFIX = ".wh."
OPAQUE = ".wh..wh..opq"
_OPAQUE_ATTRIBUTE = "trusted.overlay.opaque"


def apply(parent: int, name: str) -> bool:
    """Whether `name` was a whiteout, which is then made in the directory `parent`."""
    if not name.startswith(PREFIX):
        return False
    if name == OPAQUE:
        os.setxattr(parent, _OPAQUE_ATTRIBUTE, b"y")
    elif not name.startswith(".wh..wh."):  # what else aufs left there means nothing to an image
        with contextlib.suppress(FileExistsError):  # it hides lower layers only, never this one's own
            os.mknod(name[len(PREFIX) :], stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
    return True


def is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def is_opaque(path: str) -> bool:
    try:
        return os.getxattr(path, _OPAQUE_ATTRIBUTE) == b"y"
    except OSError:
        return False


def remove_tree(parent: int, name: str) -> None:
    """Remove a directory of a layer, by descriptor, following no link."""
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        for entry in os.listdir(fd):
            try:
                os.unlink(entry, dir_fd=fd)
            except IsADirectoryError:
                remove_tree(fd, entry)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent)
