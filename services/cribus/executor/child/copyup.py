"""What a new tmpfs covers, copied into it (the mount option tmpcopyup).

Both trees are reached by descriptors alone, and no link is followed: the image is a stranger's.
"""

import os
import stat

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 24


def copy(below: int, above: int, *, keep_mode: bool) -> None:
    """Everything in the directory `below`, with owners, modes and times, into the directory `above`, which becomes
    like it too unless `keep_mode`. Both may be O_PATH. Raises OSError."""
    source, target = (
        os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for fd in (below, above)
    )
    try:
        if not keep_mode:
            info = os.fstat(source)
            os.fchown(target, info.st_uid, info.st_gid)
            os.fchmod(target, stat.S_IMODE(info.st_mode))
        _inside(source, target)
    finally:
        os.close(source)
        os.close(target)


def _inside(source: int, target: int) -> None:
    for name in os.listdir(source):
        info = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISLNK(info.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        elif stat.S_ISDIR(info.st_mode):
            _directory(name, source, target)
        elif stat.S_ISREG(info.st_mode):
            _file(name, source, target)
        else:
            os.mknod(name, info.st_mode, info.st_rdev, dir_fd=target)
        os.chown(name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)
        if not stat.S_ISLNK(info.st_mode):
            os.chmod(name, stat.S_IMODE(info.st_mode), dir_fd=target)  # after the owner, who takes setuid away
        os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _directory(name: str, source: int, target: int) -> None:
    os.mkdir(name, 0o700, dir_fd=target)
    inner = os.open(name, _DIRECTORY, dir_fd=source)
    made = os.open(name, _DIRECTORY, dir_fd=target)
    try:
        _inside(inner, made)
    finally:
        os.close(inner)
        os.close(made)


def _file(name: str, source: int, target: int) -> None:
    old = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    new = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=target)
    try:
        while os.sendfile(new, old, None, _CHUNK):
            pass
    finally:
        os.close(old)
        os.close(new)
