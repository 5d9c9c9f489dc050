"""Files written whole or not at all, and paths that cannot leave their root."""

import contextlib
import ctypes
import errno
import os
import struct

from cribus.linux import libc

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10
AT_FDCWD = -100
_TRIES = 1000  # of a look-up that crosses renames and mounts
_PUNCH = 0x03  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE


def write_atomic(path: str, data: bytes, mode: int = 0o644) -> None:
    """Replace `path` by rename: a reader sees the old content or the new. No fsync: for tmpfs, or
    for what may be lost with the machine. Raises OSError."""
    temporary = f"{path}.{os.getpid()}.tmp"
    write_at(AT_FDCWD, temporary, data, mode)
    os.rename(temporary, path)


def write_durable(path: str, data: bytes, mode: int = 0o644) -> None:
    """`write_atomic` that also outlives a loss of power once it has returned. Leaves nothing when it
    fails. Raises OSError."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        write_at(AT_FDCWD, temporary, data, mode)
        sync(temporary)
        os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync(os.path.dirname(path))


def sync(path: str) -> None:
    """fsync(2) of a file, or of a directory's names. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic_at(dirfd: int, name: str, data: bytes, mode: int = 0o644) -> None:
    """The same, by directory descriptor."""
    temporary = f"{name}.{os.getpid()}.tmp"
    write_at(dirfd, temporary, data, mode)
    os.rename(temporary, name, src_dir_fd=dirfd, dst_dir_fd=dirfd)


def write_at(dirfd: int, name: str, data: bytes, mode: int = 0o644) -> None:
    """Write a whole file below a directory descriptor. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    fd = os.open(name, flags, mode, dir_fd=None if dirfd == AT_FDCWD else dirfd)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def read(path: str) -> bytes:
    """A whole file. Raises OSError."""
    with open(path, "rb", buffering=0) as file:
        return file.read()


def listed(path: str) -> list[str]:
    """The names in a folder, sorted; none when it does not exist. Raises OSError."""
    try:
        return sorted(os.listdir(path))
    except FileNotFoundError:
        return []


def openat2(dirfd: int, path: str, flags: int, resolve: int = RESOLVE_IN_ROOT) -> int:
    """openat2(2), close-on-exec; with RESOLVE_IN_ROOT `dirfd` is the root of every path and link.

    Where a path goes up (".."), the kernel says EAGAIN when anything on the host was renamed or mounted at that
    moment: it is asked again. Raises OSError with the path as its filename.
    """
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, resolve)
    for _ in range(_TRIES):
        result = libc.syscall(libc.SYS_OPENAT2, dirfd, libc.path(path), how, len(how))
        if result != -1 or ctypes.get_errno() != errno.EAGAIN:
            break
    return libc.check(path, result)


def punch_hole(fd: int, at: int, count: int) -> None:
    """Give back the memory or blocks of a part of a file, which reads as zeros then (fallocate(2)). Raises OSError."""
    libc.call("fallocate", libc.SYS_FALLOCATE, fd, _PUNCH, at, count)
