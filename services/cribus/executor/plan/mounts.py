"""runtime-spec `mounts` → steps. Source: runtime-spec config.md "Mounts", config-linux.md, mount(8). Pure."""

import re
from typing import Any, NamedTuple

from cribus.errors import InvalidArgument
from cribus.executor.plan.host import Host
from cribus.executor.plan.idmap import Owner
from cribus.linux import mount

Step = list[Any]

# option → (flags to set, flags to clear)
_FLAGS = {
    "async": (0, mount.MS_SYNCHRONOUS),
    "atime": (0, mount.MS_NOATIME),
    "defaults": (0, 0),
    "dev": (0, mount.MS_NODEV),
    "diratime": (0, mount.MS_NODIRATIME),
    "dirsync": (mount.MS_DIRSYNC, 0),
    "exec": (0, mount.MS_NOEXEC),
    "lazytime": (mount.MS_LAZYTIME, 0),
    "mand": (mount.MS_MANDLOCK, 0),
    "noatime": (mount.MS_NOATIME, 0),
    "nodev": (mount.MS_NODEV, 0),
    "nodiratime": (mount.MS_NODIRATIME, 0),
    "noexec": (mount.MS_NOEXEC, 0),
    "nolazytime": (0, mount.MS_LAZYTIME),
    "nomand": (0, mount.MS_MANDLOCK),
    "norelatime": (0, mount.MS_RELATIME),
    "nostrictatime": (0, mount.MS_STRICTATIME),
    "nosuid": (mount.MS_NOSUID, 0),
    "nosymfollow": (mount.MS_NOSYMFOLLOW, 0),
    "relatime": (mount.MS_RELATIME, 0),
    "ro": (mount.MS_RDONLY, 0),
    "rw": (0, mount.MS_RDONLY),
    "strictatime": (mount.MS_STRICTATIME, 0),
    "suid": (0, mount.MS_NOSUID),
    "symfollow": (0, mount.MS_NOSYMFOLLOW),
    "sync": (mount.MS_SYNCHRONOUS, 0),
}
_PROPAGATION = {
    "private": mount.MS_PRIVATE,
    "shared": mount.MS_SHARED,
    "slave": mount.MS_SLAVE,
    "unbindable": mount.MS_UNBINDABLE,
}
_ATTRIBUTES = {
    "ro": mount.MOUNT_ATTR_RDONLY,
    "nosuid": mount.MOUNT_ATTR_NOSUID,
    "nodev": mount.MOUNT_ATTR_NODEV,
    "noexec": mount.MOUNT_ATTR_NOEXEC,
    "noatime": mount.MOUNT_ATTR_NOATIME,
    "strictatime": mount.MOUNT_ATTR_STRICTATIME,
    "relatime": 0,
    "nodiratime": mount.MOUNT_ATTR_NODIRATIME,
    "nosymfollow": mount.MOUNT_ATTR_NOSYMFOLLOW,
}
_CLEARED = {
    "rw": mount.MOUNT_ATTR_RDONLY,
    "suid": mount.MOUNT_ATTR_NOSUID,
    "dev": mount.MOUNT_ATTR_NODEV,
    "exec": mount.MOUNT_ATTR_NOEXEC,
    "symfollow": mount.MOUNT_ATTR_NOSYMFOLLOW,
}
_TIMES = ("noatime", "strictatime", "relatime")


class Options(NamedTuple):
    """A mount's options, sorted by what they become."""

    words: list[str]  # those that are flags
    propagation: list[tuple[int, bool]]  # (MS_*, recursive)
    deep: list[str]  # words with a leading r: for the mount and all below
    data: list[str]  # for the file system itself
    recursive: bool


def options(given: list[str]) -> Options:
    """Sort them."""
    found = Options([], [], [], [], "rbind" in given)
    for word in given:
        if word in ("bind", "rbind", "idmap", "ridmap"):
            continue
        if word in _FLAGS:
            found.words.append(word)
        elif word in _PROPAGATION:
            found.propagation.append((_PROPAGATION[word], False))
        elif word[:1] == "r" and word[1:] in _PROPAGATION:
            found.propagation.append((_PROPAGATION[word[1:]], True))
        elif word[:1] == "r" and word[1:] in _ATTRIBUTES:
            found.deep.append(word[1:])
        else:
            found.data.append(word)
    return found


def known() -> list[str]:
    """Every option that is not a file system's own."""
    deep = [f"r{word}" for word in (*_PROPAGATION, *_ATTRIBUTES)]
    return sorted({*_FLAGS, *_PROPAGATION, *deep, "bind", "rbind", "idmap", "ridmap"})


def flags(words: list[str]) -> int:
    """mount(2)'s flags for these words; the later one wins."""
    total = 0
    for word in words:
        on, off = _FLAGS[word]
        total = (total & ~off) | on
    return total


def propagation(word: str) -> int:
    """The flags of linux.rootfsPropagation; 0 for none. Raises InvalidArgument for an unknown word."""
    if not word:
        return 0
    if word in _PROPAGATION:
        return _PROPAGATION[word]
    if word[:1] == "r" and word[1:] in _PROPAGATION:
        return _PROPAGATION[word[1:]] | mount.MS_REC
    raise InvalidArgument(
        f"rootfsPropagation {word!r} is unknown; use one of {', '.join(_PROPAGATION)}, or r before it"
    )


def is_root(one: dict[str, Any]) -> bool:
    """Whether this entry is the root filesystem itself (ours: an overlay on "/")."""
    return bool(one["destination"] == "/" and one.get("type") == "overlay")


def early(mounts: list[dict[str, Any]]) -> list[Step]:
    """Binds that stay shared with the host: copied before the host's mounts become slaves."""
    found = []
    for one in mounts:
        sorted_ = options(one.get("options") or [])
        if is_bind(one) and any(flag == mount.MS_SHARED for flag, _ in sorted_.propagation):
            found.append(["clone", one["source"], sorted_.recursive])
    return found


def root(one: dict[str, Any], target: str, owner: Owner) -> Step:
    """The step that mounts and enters the root filesystem."""
    given = overlay_options(one)
    return ["overlay", target, given, [owner.uid(0), owner.gid(0)] if one.get("uidMappings") else []]


def overlay_options(one: dict[str, Any]) -> dict[str, Any]:
    """An overlay's options as a dictionary; `lowerdir` is a list, top first."""
    found: dict[str, Any] = {}
    for word in one.get("options") or []:
        key, equals, value = word.partition("=")
        if equals:
            found[key] = _directories(value) if key == "lowerdir" else value
    if not found.get("lowerdir"):
        raise InvalidArgument("the overlay of the root filesystem has no lowerdir; name the image's layers")
    return found


def _directories(value: str) -> list[str]:
    """Of overlayfs's `lowerdir`, in which a backslash takes the meaning from what follows it."""
    return [re.sub(r"\\(.)", r"\1", one) for one in re.findall(r"(?:\\.|[^:\\])+", value)]


def steps(one: dict[str, Any], host: Host, cgroups: "Cgroups") -> list[Step]:
    """What one entry becomes. Raises InvalidArgument for one that cannot be understood."""
    sorted_ = options(one.get("options") or [])
    target, kind = one["destination"], one.get("type", "")
    if not target.startswith("/"):
        target = "/" + target
    if is_bind(one):
        return [_bind(one, target, sorted_)]
    if kind == "cgroup":
        return _cgroup(target, sorted_, host, cgroups)
    if not kind:
        raise InvalidArgument(f"mount {target}: give a type, or the option bind")
    return _new(one, target, sorted_)


def _new(one: dict[str, Any], target: str, sorted_: Options) -> list[Step]:
    kind = one["type"]
    if kind == "overlay" and len(sorted_.data) == 1 and sorted_.data[0].startswith("lowerdir="):
        # mount(2) takes 4096 bytes of options, and knows nothing of the container's owners
        owner = [0, 0] if one.get("uidMappings") else []
        return [["filesystem", kind, target, [overlay_options(one), owner, *_attributes(sorted_.words)]]]
    number = flags(sorted_.words)
    made: list[Step] = [["filesystem", kind, target, [one.get("source") or kind, number, ",".join(sorted_.data)]]]
    return made


def is_bind(one: dict[str, Any]) -> bool:
    """Whether this entry shows a path of the host."""
    return one.get("type") == "bind" or bool({"bind", "rbind"} & set(one.get("options") or []))


def _bind(one: dict[str, Any], target: str, sorted_: Options) -> Step:
    source = one.get("source", "")
    if not source.startswith("/"):
        raise InvalidArgument(f"mount {target}: its source {source!r} must be an absolute path of the host")
    on, off = _attributes(sorted_.words)
    how = {
        "recursive": sorted_.recursive,
        "set": on,
        "clear": off,
        "deep_set": sum({_ATTRIBUTES[word] for word in sorted_.deep}),
        "propagation": [list(pair) for pair in sorted_.propagation if pair[0] != mount.MS_SHARED]
        or ([] if sorted_.propagation else [[mount.MS_PRIVATE, True]]),
        "mapped": bool(one.get("uidMappings")),
    }
    return ["bind", source, target, how]


def _attributes(words: list[str]) -> tuple[int, int]:
    """MOUNT_ATTR_* to set and to clear; the later word wins."""
    on, off = 0, 0
    for word in words:
        on |= _ATTRIBUTES.get(word, 0)
        on &= ~_CLEARED.get(word, 0)
        off |= mount.MOUNT_ATTR__ATIME if word in _TIMES else 0
    return on, off


class Cgroups(NamedTuple):
    """How a container sees cgroups: `own` namespace or not, and its path below each hierarchy."""

    own: bool
    path: str


def _cgroup(target: str, sorted_: Options, host: Host, cgroups: Cgroups) -> list[Step]:
    number = flags(sorted_.words)
    if not host.hierarchies:
        if cgroups.own:
            return [["filesystem", "cgroup2", target, ["cgroup", number, ",".join(sorted_.data)]]]
        attributes = {"recursive": False, "set": number & 0xF, "clear": 0, "deep_set": 0, "mapped": False}
        return [["bind", "/sys/fs/cgroup" + cgroups.path, target, {**attributes, "propagation": []}]]
    mounts = [[name, data if cgroups.own else "", where + cgroups.path] for name, data, where in host.hierarchies]
    return [["cgroup_v1", target, number, {"mounts": mounts, "links": [list(link) for link in host.links]}]]
