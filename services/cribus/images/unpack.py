"""A layer's tar stream → a directory that overlayfs takes as a lower layer.

Nothing is ever written outside the directory: the parent of every name is opened with the layer's
directory as its root (openat2(2), RESOLVE_IN_ROOT), and the last part is made by openat with
O_EXCL | O_NOFOLLOW. Whiteouts become what overlayfs wants (whiteouts.py).
Source: image-spec, layer.md.
"""

import errno
import os
import stat

from cribus.errors import DataLoss, InvalidArgument
from cribus.images import whiteouts
from cribus.images.tarstream import Chunks, Entry, entries, padding
from cribus.linux import files

_MOST_ENTRIES = 5_000_000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MASKED = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX | 0o022  # what chown or the umask would take away
_PIECE = 1 << 20


class Unpacked:
    """What a layer came to."""

    __slots__ = ("inodes", "size")

    def __init__(self) -> None:
        self.size = 0
        self.inodes = 0


class _Layer:
    """One layer while it is written. The last parent's descriptor is kept: names come in order."""

    def __init__(self, root: str) -> None:
        self.root = os.open(root, _DIRECTORY)
        self.parent_name = ""
        self.parent = os.dup(self.root)
        self.times: list[tuple[str, int]] = []  # of directories: set at the end, their content changes them

    def close(self) -> None:
        os.close(self.parent)
        os.close(self.root)

    def enter(self, parent: str) -> int:
        """The descriptor of a directory of the layer; missing ones are made."""
        if parent != self.parent_name:
            fd = self._opened(parent)
            os.close(self.parent)
            self.parent, self.parent_name = fd, parent
        return self.parent

    def _opened(self, path: str) -> int:
        if not path:
            return os.dup(self.root)
        try:
            return files.openat2(self.root, path, _DIRECTORY)
        except FileNotFoundError:
            above, _, name = path.rpartition("/")
            fd = self._opened(above)
            try:
                _absent(fd, name)  # a dangling link, or nothing
                os.mkdir(name, 0o755, dir_fd=fd)
                return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise InvalidArgument(f"the layer puts something below {path!r}, which is no directory") from error


def unpack(chunks: Chunks, root: str) -> Unpacked:
    """Write a layer below `root`, an empty directory. The stream is read to its very end.

    Raises DataLoss for a damaged stream and InvalidArgument for one that wants out of its directory.
    """
    total = Unpacked()
    layer = _Layer(root)
    try:
        for entry in entries(chunks):
            total.inodes += 1
            if total.inodes > _MOST_ENTRIES:
                raise InvalidArgument(f"the layer has more than {_MOST_ENTRIES} entries")
            total.size += entry.real_size
            _one(layer, entry, chunks)
            chunks.skip(padding(entry.size))
        chunks.drain()
        for name, mtime in reversed(layer.times):
            fd = files.openat2(layer.root, name or ".", os.O_RDONLY)
            os.utime(fd, ns=(mtime, mtime))
            os.close(fd)
    finally:
        layer.close()
    return total


def parts(name: str) -> tuple[str, str]:
    """(parent, last part) of a member's name. Raises InvalidArgument for one that climbs out."""
    pieces = [piece for piece in name.split("/") if piece not in ("", ".")]
    if ".." in pieces:
        raise InvalidArgument(f"the layer has an entry {name!r}; a name may not hold '..'")
    if not pieces:
        return "", ""
    return "/".join(pieces[:-1]), pieces[-1]


def _one(layer: _Layer, entry: Entry, chunks: Chunks) -> None:
    above, name = parts(entry.name)
    if "\0" in entry.name:
        raise InvalidArgument("the layer has a name with a zero byte")
    if not name:
        _root(layer, entry)
        return
    parent = layer.enter(above)
    if whiteouts.apply(parent, name):
        chunks.skip(entry.size)
        return
    try:
        _MAKERS.get(entry.type, _unknown)(layer, entry, (parent, name), chunks)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.EIO):
            raise
        raise DataLoss(f"the layer's entry {entry.name!r} cannot be made: {error.strerror}") from error


def _root(layer: _Layer, entry: Entry) -> None:
    if entry.type == "5":
        os.fchmod(layer.root, entry.mode)
        os.fchown(layer.root, entry.uid, entry.gid)
        layer.times.append(("", entry.mtime))


def _absent(parent: int, name: str) -> None:
    """Remove what an earlier entry of the same name made: the last one counts."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        whiteouts.remove_tree(parent, name)


def _file(layer: _Layer, entry: Entry, place: tuple[int, str], chunks: Chunks) -> None:
    parent, name = place
    try:
        fd = os.open(name, _CREATE, entry.mode, dir_fd=parent)
    except FileExistsError:
        _absent(parent, name)
        fd = os.open(name, _CREATE, entry.mode, dir_fd=parent)
    try:
        if entry.sparse:
            _write_sparse(fd, entry, chunks)
        else:
            _write(fd, entry.size, chunks)
        if entry.uid or entry.gid:
            os.fchown(fd, entry.uid, entry.gid)
        if entry.mode & _MASKED:
            os.fchmod(fd, entry.mode)
        for key, value in entry.xattrs.items():
            os.setxattr(fd, key, value)
        os.utime(fd, ns=(entry.mtime, entry.mtime))
    finally:
        os.close(fd)


def _write(fd: int, size: int, chunks: Chunks) -> None:
    while size:
        piece = chunks.take(min(size, _PIECE))
        if not piece:
            raise DataLoss("the layer is truncated: its tar stream ends in the middle of a file")
        size -= len(piece)
        while piece:
            piece = piece[os.write(fd, piece) :]


def _write_sparse(fd: int, entry: Entry, chunks: Chunks) -> None:
    left = entry.size
    for offset, count in entry.sparse:
        if count > left or offset + count > entry.real_size:
            raise DataLoss(f"the sparse map of {entry.name!r} does not fit its data")
        os.lseek(fd, offset, os.SEEK_SET)
        _write(fd, count, chunks)
        left -= count
    chunks.skip(left)
    os.ftruncate(fd, entry.real_size)


def _directory(layer: _Layer, entry: Entry, place: tuple[int, str], chunks: Chunks) -> None:
    parent, name = place
    try:
        os.mkdir(name, entry.mode, dir_fd=parent)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            _absent(parent, name)
            os.mkdir(name, entry.mode, dir_fd=parent)
    fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode)
        for key, value in entry.xattrs.items():
            os.setxattr(fd, key, value)
    finally:
        os.close(fd)
    above = parts(entry.name)[0]
    layer.times.append((f"{above}/{name}" if above else name, entry.mtime))


def _symlink(layer: _Layer, entry: Entry, place: tuple[int, str], chunks: Chunks) -> None:
    parent, name = place
    try:
        os.symlink(entry.linkname, name, dir_fd=parent)
    except FileExistsError:
        _absent(parent, name)
        os.symlink(entry.linkname, name, dir_fd=parent)
    _owned(entry, place)


def _hard_link(layer: _Layer, entry: Entry, place: tuple[int, str], chunks: Chunks) -> None:
    """A link inside this layer; its target's parent is found as any parent is."""
    parent, name = place
    above, last = parts(entry.linkname)
    fd = layer._opened(above)
    try:
        try:
            os.link(last, name, src_dir_fd=fd, dst_dir_fd=parent, follow_symlinks=False)
        except FileExistsError:
            _absent(parent, name)
            os.link(last, name, src_dir_fd=fd, dst_dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError as error:
        raise DataLoss(f"{entry.name!r} is a hard link to {entry.linkname!r}, which the layer does not have") from error
    finally:
        os.close(fd)


def _device(layer: _Layer, entry: Entry, place: tuple[int, str], chunks: Chunks) -> None:
    parent, name = place
    kind = {"3": stat.S_IFCHR, "4": stat.S_IFBLK, "6": stat.S_IFIFO}[entry.type]
    _absent(parent, name)
    os.mknod(name, kind | entry.mode, os.makedev(*entry.device), dir_fd=parent)
    _owned(entry, place)
    os.chmod(name, entry.mode, dir_fd=parent)


def _owned(entry: Entry, place: tuple[int, str]) -> None:
    """Owner, xattrs and time of what cannot be opened without a side effect."""
    parent, name = place
    os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
    for key, value in entry.xattrs.items():
        os.setxattr(f"/proc/self/fd/{parent}/{name}", key, value, follow_symlinks=False)
    os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)


def _unknown(layer: _Layer, entry: Entry, place: tuple[int, str], chunks: Chunks) -> None:
    raise DataLoss(f"the layer's entry {entry.name!r} is of type {entry.type!r}, which no image may hold")


_MAKERS = {
    "0": _file,
    "7": _file,
    "1": _hard_link,
    "2": _symlink,
    "3": _device,
    "4": _device,
    "5": _directory,
    "6": _device,
}
