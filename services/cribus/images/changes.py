"""What a container has changed of its image: its writable layer as the tar stream of a layer.

The reverse of unpack.py: what overlayfs says of things taken away becomes whiteouts again. Sockets are left out,
as tar has none. Source: image-spec layer.md; kernel, filesystems/overlayfs.
"""

import os
import stat
import tarfile
from collections.abc import Iterator

from cribus.images import whiteouts, xattrs

_XATTR = "SCHILY.xattr."


def write(upper: str, path: str) -> None:
    """A new file at `path`, readable by nobody else. The container must not run meanwhile. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    seen: dict[int, str] = {}
    with os.fdopen(fd, "wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in _walk(upper):
            _add(tar, upper, name, seen)


def _walk(upper: str) -> Iterator[str]:
    """Every name below, parents first."""
    folders = [""]
    while folders:
        folder = folders.pop()
        yield folder
        with os.scandir(f"{upper}/{folder}") as listing:
            for entry in sorted(listing, key=lambda one: one.name):
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                else:
                    yield name


def _add(tar: tarfile.TarFile, upper: str, name: str, seen: dict[int, str]) -> None:
    path = f"{upper}/{name}"
    found = os.lstat(path)
    if whiteouts.is_whiteout(found):
        above, _, last = name.rpartition("/")
        tar.addfile(tarfile.TarInfo(f"{above}/{whiteouts.PREFIX}{last}".lstrip("/")))
        return
    if stat.S_ISSOCK(found.st_mode):
        return
    info = _described(name or ".", path, found)
    if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
        if found.st_ino in seen:
            info.type, info.linkname, info.size = tarfile.LNKTYPE, seen[found.st_ino], 0
        seen.setdefault(found.st_ino, name)
    if info.isreg():
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            tar.addfile(info, file)
    else:
        tar.addfile(info)
    if stat.S_ISDIR(found.st_mode) and whiteouts.is_opaque(path):
        tar.addfile(tarfile.TarInfo(f"{name}/{whiteouts.OPAQUE}".lstrip("/")))


def _described(name: str, path: str, found: os.stat_result) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode, info.uid, info.gid = stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid
    info.mtime = found.st_mtime_ns / 1e9
    info.type = _TYPES[stat.S_IFMT(found.st_mode)]
    if info.isreg():
        info.size = found.st_size
    elif info.issym():
        info.linkname = os.readlink(path)
    elif info.isdev():
        info.devmajor, info.devminor = os.major(found.st_rdev), os.minor(found.st_rdev)
    info.pax_headers = {
        _XATTR + key: os.getxattr(path, key, follow_symlinks=False).decode("utf-8", "surrogateescape")
        for key in os.listxattr(path, follow_symlinks=False)
        if xattrs.kept(key)
    }
    return info


_TYPES = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}
