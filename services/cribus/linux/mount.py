"""mount(2) and the newer calls on mounts as objects. Knows no container."""

import errno
import os
import struct

from cribus.linux import libc

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_MANDLOCK = 64
MS_DIRSYNC = 128
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_SILENT = 32768
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_I_VERSION = 1 << 23
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25

MNT_FORCE = 1
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
AT_SYMLINK_NOFOLLOW = 0x100
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40

FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_SET_FD = 5
FSCONFIG_CMD_CREATE = 6

MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x00100000
MOUNT_ATTR_NOSYMFOLLOW = 0x00200000


def mount(source: str, target: str, fstype: str = "", options: tuple[int, str] = (0, "")) -> None:
    """mount(2); `options` are MS_* flags and the file system's own words. Raises OSError."""
    flags, data = options
    words = (libc.path(source), libc.path(target), libc.path(fstype))
    libc.call("mount", libc.SYS_MOUNT, *words, flags, libc.path(data or None))


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2). Raises OSError."""
    libc.call("umount", libc.SYS_UMOUNT2, libc.path(target), flags)


def detach(target: str) -> bool:
    """Whether something was mounted on `target`; it is not any more, whoever still uses it. Raises OSError."""
    try:
        umount(target, MNT_DETACH)
    except OSError as error:
        if error.errno == errno.EINVAL:  # no mount point
            return False
        raise
    return True


def bind(source: str, target: str, *, recursive: bool = False) -> None:
    """Let `target` show `source`. Raises OSError."""
    mount(source, target, options=(MS_BIND | (MS_REC if recursive else 0), ""))


def change(target: str, flags: int) -> None:
    """Change a mount's propagation or flags: mount(2) without a source. Raises OSError."""
    mount("", target, options=(flags, ""))


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2). Raises OSError."""
    libc.call("pivot_root", libc.SYS_PIVOT_ROOT, libc.path(new), libc.path(old))


def open_tree(dirfd: int, path: str, flags: int) -> int:
    """open_tree(2): a descriptor of the mount at `path`, of a detached copy with OPEN_TREE_CLONE."""
    return libc.call("open_tree", libc.SYS_OPEN_TREE, dirfd, libc.path(path), flags | OPEN_TREE_CLOEXEC)


def move_mount(tree: int, target: int) -> None:
    """Attach the detached mount `tree` on what descriptor `target` names. Raises OSError."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    libc.call("move_mount", libc.SYS_MOVE_MOUNT, tree, b"", target, b"", flags)


def mount_setattr(dirfd: int, path: str, flags: int, attributes: tuple[int, int, int, int]) -> None:
    """mount_setattr(2); `attributes` are (set, clear, propagation, user namespace descriptor)."""
    packed = struct.pack("QQQQ", *attributes)
    libc.call("mount_setattr", libc.SYS_MOUNT_SETATTR, dirfd, libc.path(path), flags, packed, len(packed))


def fsopen(fstype: str) -> int:
    """fsopen(2): a descriptor on which a new file system is configured."""
    return libc.call("fsopen", libc.SYS_FSOPEN, libc.path(fstype), FSOPEN_CLOEXEC)


def fsconfig(filesystem: int, command: int, key: str | None = None, value: str | None = None) -> None:
    """fsconfig(2) with a string value, a flag or a command. Raises OSError."""
    words = (libc.path(key), libc.path(value))
    libc.call("fsconfig", libc.SYS_FSCONFIG, filesystem, command, *words, 0)


def fsmount(filesystem: int, attributes: int = 0) -> int:
    """fsmount(2): a detached mount of a configured file system."""
    return libc.call("fsmount", libc.SYS_FSMOUNT, filesystem, FSMOUNT_CLOEXEC, attributes)
