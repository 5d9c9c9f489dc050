"""A mount's option words → what they become. Source: runtime-spec config.md "Linux mount options", mount(8),
mount_setattr(2). Pure."""

from typing import NamedTuple

from cribus.linux import mount

# option → (flags to set, flags to clear)
_FLAGS = {
    "async": (0, mount.MS_SYNCHRONOUS),
    "atime": (0, mount.MS_NOATIME),
    "defaults": (0, 0),
    "dev": (0, mount.MS_NODEV),
    "diratime": (0, mount.MS_NODIRATIME),
    "dirsync": (mount.MS_DIRSYNC, 0),
    "exec": (0, mount.MS_NOEXEC),
    "iversion": (mount.MS_I_VERSION, 0),
    "lazytime": (mount.MS_LAZYTIME, 0),
    "loud": (0, mount.MS_SILENT),
    "mand": (mount.MS_MANDLOCK, 0),
    "noatime": (mount.MS_NOATIME, 0),
    "nodev": (mount.MS_NODEV, 0),
    "nodiratime": (mount.MS_NODIRATIME, 0),
    "noexec": (mount.MS_NOEXEC, 0),
    "noiversion": (0, mount.MS_I_VERSION),
    "nolazytime": (0, mount.MS_LAZYTIME),
    "nomand": (0, mount.MS_MANDLOCK),
    "norelatime": (0, mount.MS_RELATIME),
    "nostrictatime": (0, mount.MS_STRICTATIME),
    "nosuid": (mount.MS_NOSUID, 0),
    "nosymfollow": (mount.MS_NOSYMFOLLOW, 0),
    "relatime": (mount.MS_RELATIME, 0),
    "remount": (mount.MS_REMOUNT, 0),
    "ro": (mount.MS_RDONLY, 0),
    "rw": (0, mount.MS_RDONLY),
    "silent": (mount.MS_SILENT, 0),
    "strictatime": (mount.MS_STRICTATIME, 0),
    "suid": (0, mount.MS_NOSUID),
    "symfollow": (0, mount.MS_NOSYMFOLLOW),
    "sync": (mount.MS_SYNCHRONOUS, 0),
}
PROPAGATION = {
    "private": mount.MS_PRIVATE,
    "shared": mount.MS_SHARED,
    "slave": mount.MS_SLAVE,
    "unbindable": mount.MS_UNBINDABLE,
}
# option → (attributes to set, attributes to clear); times of access are one choice of three, relatime the kernel's own
_ATTRIBUTES = {
    "ro": (mount.MOUNT_ATTR_RDONLY, 0),
    "rw": (0, mount.MOUNT_ATTR_RDONLY),
    "nosuid": (mount.MOUNT_ATTR_NOSUID, 0),
    "suid": (0, mount.MOUNT_ATTR_NOSUID),
    "nodev": (mount.MOUNT_ATTR_NODEV, 0),
    "dev": (0, mount.MOUNT_ATTR_NODEV),
    "noexec": (mount.MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, mount.MOUNT_ATTR_NOEXEC),
    "nodiratime": (mount.MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, mount.MOUNT_ATTR_NODIRATIME),
    "nosymfollow": (mount.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, mount.MOUNT_ATTR_NOSYMFOLLOW),
    "noatime": (mount.MOUNT_ATTR_NOATIME, mount.MOUNT_ATTR__ATIME),
    "strictatime": (mount.MOUNT_ATTR_STRICTATIME, mount.MOUNT_ATTR__ATIME),
    "relatime": (0, mount.MOUNT_ATTR__ATIME),
    "atime": (0, mount.MOUNT_ATTR__ATIME),
    "nostrictatime": (0, mount.MOUNT_ATTR__ATIME),
    "norelatime": (0, mount.MOUNT_ATTR__ATIME),
}
# A bind shows a file system that is mounted already, and cannot change these of it.
_SUPERBLOCK = ("async", "dirsync", "iversion", "lazytime", "mand", "noiversion", "nolazytime", "nomand", "sync")
_OTHERS = ("bind", "rbind", "idmap", "ridmap", "tmpcopyup")


class Options(NamedTuple):
    """Sorted by what they become."""

    words: list[str]  # those that are flags
    propagation: list[tuple[int, bool]]  # (MS_*, recursive)
    deep: list[str]  # words with a leading r: for the mount and all below
    data: list[str]  # for the file system itself
    others: list[str]  # those of _OTHERS

    @property
    def recursive(self) -> bool:
        return "rbind" in self.others


def sort(given: list[str]) -> Options:
    """Each word to what it becomes; unknown ones are the file system's."""
    found = Options([], [], [], [], [])
    for word in given:
        if word in _OTHERS:
            found.others.append(word)
        elif word in _FLAGS:
            found.words.append(word)
        elif word in PROPAGATION:
            found.propagation.append((PROPAGATION[word], False))
        elif word[:1] == "r" and word[1:] in PROPAGATION:
            found.propagation.append((PROPAGATION[word[1:]], True))
        elif word[:1] == "r" and word[1:] in _ATTRIBUTES:
            found.deep.append(word[1:])
        else:
            found.data.append(word)
    return found


def known() -> list[str]:
    """Every option that is not a file system's own."""
    deep = [f"r{word}" for word in (*PROPAGATION, *_ATTRIBUTES)]
    return sorted({*_FLAGS, *PROPAGATION, *deep, *_OTHERS})


def flags(words: list[str]) -> int:
    """mount(2)'s flags for these words; the later one wins."""
    total = 0
    for word in words:
        on, off = _FLAGS[word]
        total = (total & ~off) | on
    return total


def attributes(words: list[str]) -> list[int]:
    """mount_setattr(2)'s attributes to set and to clear for these words; the later one wins."""
    total_on, total_off = 0, 0
    for word in words:
        on, off = _ATTRIBUTES.get(word, (0, 0))
        total_on = (total_on & ~off) | on
        total_off = (total_off & ~on) | off
    if total_off & mount.MOUNT_ATTR__ATIME:  # the kernel wants the whole choice cleared
        total_off |= mount.MOUNT_ATTR__ATIME
    return [total_on, total_off]


def of_superblock(words: list[str]) -> list[str]:
    """Those that a bind cannot have."""
    return [word for word in dict.fromkeys(words) if word in _SUPERBLOCK]
