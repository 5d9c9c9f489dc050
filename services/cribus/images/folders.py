"""The directories of a layer that is being written, by descriptor.

Every name's parent is opened with the layer's directory as its root (openat2(2), RESOLVE_IN_ROOT): links
of the layer are followed as in a container and none leads out. Descriptors of directories are kept, for
names come in clusters; what is removed or replaced takes its descriptors along.
"""

import errno
import os
import stat

from cribus.errors import InvalidArgument
from cribus.images import whiteouts
from cribus.linux import files

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_KEEP = 256
_LINKS = 40  # as many links as the kernel follows
_DEPTH = 1000  # parts of a path


def parts(name: str) -> tuple[str, str]:
    """(parent, last part) of a member's name. Raises InvalidArgument for one that climbs out."""
    if "/" not in name and name not in ("", ".", ".."):
        return "", name
    pieces = [piece for piece in name.split("/") if piece not in ("", ".")]
    if ".." in pieces:
        raise InvalidArgument(f"the layer has an entry {name!r}; a name may not hold '..'")
    if len(pieces) > _DEPTH:
        raise InvalidArgument(f"the layer has an entry that is more than {_DEPTH} folders deep")
    if not pieces:
        return "", ""
    return "/".join(pieces[:-1]), pieces[-1]


class Folders:
    """The directories below one root. `implied` are those that were made without an entry of their own."""

    def __init__(self, root: str) -> None:
        self.root = os.open(root, DIRECTORY)
        self.implied: dict[str, None] = {}
        self._kept: dict[str, int] = {}

    def close(self) -> None:
        self.forget()
        os.close(self.root)

    def forget(self) -> None:
        """Something was removed: what is known of paths may be wrong."""
        for fd in self._kept.values():
            os.close(fd)
        self._kept = {}

    def enter(self, path: str) -> int:
        """The descriptor of a directory, valid until the next call; missing ones are made.

        Raises InvalidArgument where something else than a directory is in the way, OSError.
        """
        if not path:
            return self.root
        fd = self._kept.get(path, -1)
        if fd < 0:
            fd = self._opened(path, 0)
            if len(self._kept) >= _KEEP:
                self.forget()
            self._kept[path] = fd
        return fd

    def _opened(self, path: str, links: int) -> int:
        if not path:
            return os.dup(self.root)
        try:
            return files.openat2(self.root, path, DIRECTORY)
        except FileNotFoundError:
            return self._made(path, links)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise InvalidArgument(f"the layer puts something below {path!r}, which is links in a ring") from error
            if error.errno != errno.ENOTDIR:
                raise
            above, _, name = path.rpartition("/")
            parent = self._opened(above, links)
            try:
                if not whiteouts.is_whiteout(os.stat(name, dir_fd=parent, follow_symlinks=False)):
                    raise InvalidArgument(f"the layer puts something below {path!r}, which is no directory") from error
                os.unlink(name, dir_fd=parent)
                os.mkdir(name, 0o755, dir_fd=parent)
                fd = os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
                whiteouts.make_opaque(fd)
                return fd
            finally:
                os.close(parent)

    def _made(self, path: str, links: int) -> int:
        """A directory that is not there, or whose name is a link to one that is not there."""
        above, _, name = path.rpartition("/")
        parent = self._opened(above, links)
        try:
            target = _link(parent, name)
            if target is None:
                os.mkdir(name, 0o755, dir_fd=parent)
                os.chmod(name, 0o755, dir_fd=parent)
                self.implied[path] = None
                return os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        finally:
            os.close(parent)
        if links >= _LINKS:
            raise InvalidArgument(f"the layer puts something below {path!r}, which is a link without an end")
        inside = os.path.normpath(f"/{target}" if target.startswith("/") else f"/{above}/{target}").strip("/")
        return self._opened(inside, links + 1)


def _link(parent: int, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=parent)
    except FileNotFoundError:
        return None


def is_directory(parent: int, name: str) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
