"""A layer's tar stream → a directory that overlayfs takes as a lower layer.

Nothing is ever written outside the directory: the parent of every name is found by folders.py, and the
last part is made by openat with O_EXCL | O_NOFOLLOW. Whiteouts become what overlayfs wants (whiteouts.py).
Source: image-spec, layer.md.
"""

import errno
import os
import stat

from cribus.errors import DataLoss, InvalidArgument
from cribus.images import whiteouts, xattrs
from cribus.images.folders import DIRECTORY, Folders, is_directory, parts
from cribus.images.tarstream import Chunks, Entry, entries, padding
from cribus.linux import files

_MOST_ENTRIES = 5_000_000
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MASKED = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX | 0o022  # what chown or the umask would take away
_PIECE = 1 << 20
_BLOCK = 4096  # bytes in which disks count
_OURS = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM, errno.EROFS)


class Unpacked:
    """What a layer came to: its usage, and what it leaves to the layers below it."""

    __slots__ = ("folders", "inodes", "links", "size")

    def __init__(self) -> None:
        self.size = 0  # bytes, in whole blocks
        self.inodes = 0
        self.folders: list[str] = []  # directories that it uses but does not describe
        self.links: list[tuple[str, str]] = []  # (name, target) of hard links to what it does not have


class _Layer:
    """One layer while it is written."""

    def __init__(self, root: str) -> None:
        self.folders = Folders(root)
        self.times: list[tuple[str, int]] = []  # of directories: set at the end, their content changes them
        self.links: list[tuple[str, str]] = []
        self.stale = False  # something was replaced, which a known path may have led through

    def absent(self, parent: int, name: str) -> bool:
        """Remove what an earlier entry of the same name made: the last one counts. Whether it was a whiteout."""
        try:
            whiteout = whiteouts.is_whiteout(os.stat(name, dir_fd=parent, follow_symlinks=False))
            if is_directory(parent, name):
                whiteouts.remove_tree(parent, name)
            else:
                os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            return False
        self.stale = True
        return whiteout

    def set_times(self) -> None:
        for name, mtime in reversed(self.times):
            try:
                fd = files.openat2(self.folders.root, name or ".", DIRECTORY | os.O_NOFOLLOW)
            except OSError:  # a later entry has replaced it
                continue
            os.utime(fd, ns=(mtime, mtime))
            os.close(fd)


def unpack(chunks: Chunks, root: str, only: str = "") -> Unpacked:
    """Write a layer below `root`, an empty directory. The stream is read to its very end. `only`: the types of
    entries that it may have, where those are not all.

    Raises DataLoss for a damaged stream and InvalidArgument for one that wants out of its directory.
    """
    total = Unpacked()
    layer = _Layer(root)
    try:
        for count, entry in enumerate(entries(chunks)):
            if count >= _MOST_ENTRIES:
                raise InvalidArgument(f"the layer has more than {_MOST_ENTRIES} entries")
            if only and entry.type not in only:
                raise InvalidArgument(f"entry {entry.name!r} is of type {entry.type!r}, which has no place here")
            if entry.type != "1":
                total.inodes += 1
            total.size += _BLOCK if entry.type == "5" else -(-entry.size // _BLOCK) * _BLOCK
            left = padding(entry.size)
            _one(layer, entry, chunks)
            if left:
                chunks.skip(left)
        chunks.drain()
        layer.set_times()
        described = {name for name, _ in layer.times}
        if "" not in described:
            layer.folders.implied[""] = None
        total.folders = [name for name in layer.folders.implied if name not in described]
        made = len(list(filter(None, total.folders)))
        total.inodes += made
        total.size += made * _BLOCK
        total.links = layer.links
    finally:
        layer.folders.close()
    return total


def _one(layer: _Layer, entry: Entry, chunks: Chunks) -> None:
    above, name = parts(entry.name)
    if not name:
        _root(layer, entry)
        return
    try:
        parent = layer.folders.enter(above)
        if name.startswith(whiteouts.PREFIX) and whiteouts.apply(parent, name):
            chunks.skip(entry.size)
        else:
            _MAKERS.get(entry.type, _unknown)(layer, entry, (parent, name), chunks)
            if layer.stale:
                layer.folders.forget()
                layer.stale = False
    except OSError as error:
        if error.errno in _OURS:
            raise
        raise DataLoss(f"the layer's entry {entry.name!r} cannot be made: {error.strerror}") from error


def _root(layer: _Layer, entry: Entry) -> None:
    if entry.type == "5":
        os.fchown(layer.folders.root, entry.uid, entry.gid)
        os.fchmod(layer.folders.root, entry.mode)
        layer.times.append(("", entry.mtime))


def _file(layer: _Layer, entry: Entry, place: tuple[int, str], chunks: Chunks) -> None:
    parent, name = place
    try:
        fd = os.open(name, _CREATE, entry.mode, dir_fd=parent)
    except FileExistsError:
        layer.absent(parent, name)
        fd = os.open(name, _CREATE, entry.mode, dir_fd=parent)
    try:
        if entry.sparse:
            _write_sparse(fd, entry, chunks)
        elif entry.size:
            _write(fd, entry.size, chunks)
        if entry.uid or entry.gid:
            os.fchown(fd, entry.uid, entry.gid)
        if entry.mode & _MASKED:
            os.fchmod(fd, entry.mode)
        if entry.xattrs:
            xattrs.apply(fd, entry.xattrs)
        os.utime(fd, ns=(entry.mtime, entry.mtime))
    finally:
        os.close(fd)


def _write(fd: int, size: int, chunks: Chunks) -> None:
    while size:
        piece = chunks.take(min(size, _PIECE))
        if not piece:
            raise DataLoss("the layer is truncated: its tar stream ends in the middle of a file")
        size -= len(piece)
        written = os.write(fd, piece)
        while written < len(piece):
            piece = piece[written:]
            written = os.write(fd, piece)


def _write_sparse(fd: int, entry: Entry, chunks: Chunks) -> None:
    left = entry.size
    for offset, count in entry.sparse:
        if not 0 <= count <= left or not 0 <= offset <= entry.real_size - count:
            raise DataLoss(f"the sparse map of {entry.name!r} does not fit its data")
        os.lseek(fd, offset, os.SEEK_SET)
        _write(fd, count, chunks)
        left -= count
    chunks.skip(left)
    os.ftruncate(fd, entry.real_size)


def _directory(layer: _Layer, entry: Entry, place: tuple[int, str], chunks: Chunks) -> None:
    parent, name = place
    hides = False
    try:
        os.mkdir(name, entry.mode, dir_fd=parent)
    except FileExistsError:
        if not is_directory(parent, name):
            hides = layer.absent(parent, name)
            os.mkdir(name, entry.mode, dir_fd=parent)
    fd = os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        if hides:  # taken away below and made anew in one layer
            whiteouts.make_opaque(fd)
        os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode)
        xattrs.apply(fd, entry.xattrs)
    finally:
        os.close(fd)
    above = parts(entry.name)[0]
    layer.times.append((f"{above}/{name}" if above else name, entry.mtime))


def _symlink(layer: _Layer, entry: Entry, place: tuple[int, str], chunks: Chunks) -> None:
    parent, name = place
    try:
        os.symlink(entry.linkname, name, dir_fd=parent)
    except FileExistsError:
        layer.absent(parent, name)
        os.symlink(entry.linkname, name, dir_fd=parent)
    _owned(entry, place)


def _hard_link(layer: _Layer, entry: Entry, place: tuple[int, str], chunks: Chunks) -> None:
    """A link inside this layer; its target's parent is found as any parent is. One whose target must be in
    a layer below is noted for later."""
    parent, name = place
    above, last = parts(entry.linkname)
    source = -1
    try:
        source = files.openat2(layer.folders.root, above or ".", DIRECTORY)
        target = os.stat(last, dir_fd=source, follow_symlinks=False)
        if whiteouts.is_whiteout(target):
            raise FileNotFoundError(errno.ENOENT, "it is taken away", last)
        try:
            os.link(last, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except FileExistsError:
            if os.path.samestat(target, os.stat(name, dir_fd=parent, follow_symlinks=False)):
                return
            layer.absent(parent, name)
            os.link(last, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        layer.links.append(("/".join(filter(None, parts(entry.name))), "/".join(filter(None, (above, last)))))
    finally:
        if source >= 0:
            os.close(source)


def _device(layer: _Layer, entry: Entry, place: tuple[int, str], chunks: Chunks) -> None:
    parent, name = place
    kind = {"3": stat.S_IFCHR, "4": stat.S_IFBLK, "6": stat.S_IFIFO}[entry.type]
    layer.absent(parent, name)
    os.mknod(name, kind | entry.mode, os.makedev(*entry.device), dir_fd=parent)
    os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
    os.chmod(name, entry.mode, dir_fd=parent)
    _owned(entry, place)


def _owned(entry: Entry, place: tuple[int, str]) -> None:
    """Owner, xattrs and time of what cannot be opened without a side effect."""
    parent, name = place
    os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
    if entry.xattrs:
        xattrs.apply(f"/proc/self/fd/{parent}/{name}", entry.xattrs)
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
