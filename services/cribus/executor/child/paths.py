"""Paths inside a container's root filesystem, found by descriptor at the moment they are used.

An image is a stranger's: every link in it is resolved as if the root filesystem were "/", and what was
looked up as a string before is never trusted.
"""

import errno
import os
import stat

from cribus.linux import files

_LINKS = 40  # as many as the kernel follows


def split(path: str) -> list[str]:
    """The names in a path, without empty ones and dots."""
    return [name for name in path.split("/") if name not in ("", ".")]


def open_in(root: int, path: str, flags: int = os.O_PATH) -> int:
    """A descriptor of what `path` is inside the root. Raises OSError."""
    return files.openat2(root, path or ".", flags)


def ensure(root: int, path: str, *, directory: bool) -> int:
    """A descriptor (O_PATH) of `path` inside the root; it and its parents are made when missing.

    A link whose target is missing gets its target made, inside the root. Raises OSError.
    """
    names = split(path)
    for _ in range(_LINKS):
        try:
            return open_in(root, "/".join(names))
        except FileNotFoundError:
            pass
        parent = ensure(root, "/".join(names[:-1]), directory=True)
        try:
            followed = _make(parent, names[-1], directory)
        finally:
            os.close(parent)
        if followed is not None:
            names = split(followed) if followed.startswith("/") else names[:-1] + split(followed)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _make(parent: int, name: str, directory: bool) -> str | None:
    """Make one directory or empty file; the target when a link that leads nowhere is in the way."""
    here = f"/proc/self/fd/{parent}/{name}"
    try:
        if directory:
            os.mkdir(here, 0o755)
        else:
            os.close(os.open(here, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644))
    except FileExistsError:
        if stat.S_ISLNK(os.lstat(here).st_mode):
            return os.readlink(here)
    return None


def through(fd: int) -> str:
    """A path for system calls that know no descriptors."""
    return f"/proc/self/fd/{fd}"
