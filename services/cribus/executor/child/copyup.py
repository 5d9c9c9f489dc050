"""What a new tmpfs covers, copied into it (the mount option tmpcopyup).

Both trees are reached by descriptors alone, and no link is followed: the image is a stranger's, and as deep as it
likes, so that there are never more than six descriptors. As with runc, extended attributes are not copied.
"""

import os
import stat

from cribus.linux import files

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_BENEATH = files.RESOLVE_BENEATH | files.RESOLVE_NO_SYMLINKS
_CHUNK = 1 << 24


def copy(below: int, above: int, *, keep_mode: bool) -> None:
    """Everything in the directory `below`, with owners, modes and times, into the directory `above`, which becomes
    like it too unless `keep_mode`. Both may be O_PATH. Raises OSError, for a path of 4096 bytes too."""
    source, target = (
        os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for fd in (below, above)
    )
    try:
        if not keep_mode:
            info = os.fstat(source)
            os.fchown(target, info.st_uid, info.st_gid)
            os.fchmod(target, stat.S_IMODE(info.st_mode))
        _all(source, target)
    finally:
        os.close(source)
        os.close(target)


def _all(source: int, target: int) -> None:
    found = ["."]  # it grows as it is walked: parents first
    for where in found:
        inner, made = _opened(source, where), _opened(target, where)
        try:
            found += [f"{where}/{name}" for name in _inside(inner, made)]
        finally:
            os.close(inner)
            os.close(made)
    for where in reversed(found[1:]):  # when nothing changes their times any more
        above, name = os.path.split(where)
        inner, made = _opened(source, above), _opened(target, above)
        try:
            _alike(name, os.stat(name, dir_fd=inner, follow_symlinks=False), made)
        finally:
            os.close(inner)
            os.close(made)


def _opened(root: int, where: str) -> int:
    return files.openat2(root, where, _DIRECTORY, _BENEATH)


def _inside(source: int, target: int) -> list[str]:
    """Copy what one directory has; the names of its directories, which are made and empty."""
    directories = []
    for name in os.listdir(source):
        info = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            os.mkdir(name, 0o700, dir_fd=target)
            directories.append(name)
            continue
        if stat.S_ISLNK(info.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        elif stat.S_ISREG(info.st_mode):
            _file(name, source, target)
        else:
            os.mknod(name, info.st_mode, info.st_rdev, dir_fd=target)
        _alike(name, info, target)
    return directories


def _alike(name: str, info: os.stat_result, target: int) -> None:
    os.chown(name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)
    if not stat.S_ISLNK(info.st_mode):
        os.chmod(name, stat.S_IMODE(info.st_mode), dir_fd=target)  # after the owner, who takes setuid away
    os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _file(name: str, source: int, target: int) -> None:
    old = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    new = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=target)
    try:
        while os.sendfile(new, old, None, _CHUNK):
            pass
    finally:
        os.close(old)
        os.close(new)
