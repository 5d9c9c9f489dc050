"""runtime-spec `mounts` → steps. Source: runtime-spec config.md "Mounts", config-linux.md, mount(8). Pure."""

import re
from typing import Any, NamedTuple

from cribus.errors import InvalidArgument
from cribus.executor.plan import options
from cribus.executor.plan.host import Host
from cribus.executor.plan.idmap import Owner, lines
from cribus.executor.plan.options import PROPAGATION, Options
from cribus.linux import mount

Step = list[Any]
_UNLABELLED = ("proc", "sysfs", "mqueue")  # SELinux has labels of its own for these


class Cgroups(NamedTuple):
    """How a container sees cgroups: `own` namespace or not, and its path below each hierarchy."""

    own: bool
    path: str


class Around(NamedTuple):
    """What a mount's steps depend on beside its entry; `label` is linux.mountLabel."""

    host: Host
    cgroups: Cgroups
    owner: Owner
    label: str = ""


def propagation(word: str) -> int:
    """The flags of linux.rootfsPropagation; 0 for none. Raises InvalidArgument for an unknown word."""
    if not word:
        return 0
    if word in PROPAGATION:
        return PROPAGATION[word]
    if word[:1] == "r" and word[1:] in PROPAGATION:
        return PROPAGATION[word[1:]] | mount.MS_REC
    raise InvalidArgument(f"rootfsPropagation {word!r} is unknown; use one of {', '.join(PROPAGATION)}, or r before it")


def is_root(one: dict[str, Any]) -> bool:
    """Whether this entry is the root filesystem itself (ours: an overlay on "/")."""
    return bool(one["destination"] == "/" and one.get("type") == "overlay")


def early(mounts: list[dict[str, Any]]) -> list[Step]:
    """Binds that stay shared with the host: copied before the host's mounts become slaves."""
    found = []
    for one in mounts:
        sorted_ = options.sort(one.get("options") or [])
        if is_bind(one) and _early(sorted_):
            found.append(["clone", one["source"], sorted_.recursive])
    return found


def _early(sorted_: Options) -> bool:
    return "remount" not in sorted_.words and any(flag == mount.MS_SHARED for flag, _ in sorted_.propagation)


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


def steps(one: dict[str, Any], around: Around) -> list[Step]:
    """What one entry becomes. Raises InvalidArgument for one that cannot be understood."""
    sorted_ = options.sort(one.get("options") or [])
    target, kind = _target(one), one.get("type", "")
    mapped = _mapped(one, sorted_, around.owner)
    if is_bind(one):
        return [_bind(one, target, sorted_, mapped)]
    if mapped is not None and (kind != "overlay" or mapped[0]):
        raise InvalidArgument(f"mount {target}: only a bind can be mapped to other ids, not {kind!r}")
    if kind == "cgroup":
        return [*_cgroup(target, sorted_, around), *_altered(target, sorted_)]
    if not kind:
        raise InvalidArgument(f"mount {target}: give a type, or the option bind")
    return _new(one, target, sorted_, around)


def bound_devices(entries: list[dict[str, Any]]) -> bool:
    """Whether /dev is a bind, which has the devices that its source has."""
    return any(is_bind(one) and _target(one).rstrip("/") == "/dev" for one in entries)


def late(one: dict[str, Any]) -> bool:
    """Whether it becomes read-only when all is done: other mounts and devices may still be made in it."""
    if is_bind(one) or not (one.get("type") == "tmpfs" or _target(one).rstrip("/") == "/dev"):
        return False
    return bool(options.flags(options.sort(one.get("options") or []).words) & mount.MS_RDONLY)


def ignored(one: dict[str, Any]) -> list[str]:
    """Its options that have no effect, by name."""
    sorted_ = options.sort(one.get("options") or [])
    if is_bind(one):
        words = options.of_superblock(sorted_.words) + (["tmpcopyup"] if "tmpcopyup" in sorted_.others else [])
        return [f"mount {_target(one)}: option {word} is ignored: a bind cannot have it" for word in words]
    words = ["tmpcopyup"] if "tmpcopyup" in sorted_.others and one.get("type") != "tmpfs" else []
    if one.get("type") == "cgroup":
        words += sorted_.data
    return [f"mount {_target(one)}: option {word} is ignored: {one.get('type')} has none like it" for word in words]


def _target(one: dict[str, Any]) -> str:
    destination: str = one["destination"]
    return "/" + destination.lstrip("/")


def _new(one: dict[str, Any], target: str, sorted_: Options, around: Around) -> list[Step]:
    kind, number, data = one["type"], options.flags(sorted_.words), sorted_.data
    if kind == "overlay" and len(data) == 1 and data[0].startswith("lowerdir="):
        # mount(2) takes 4096 bytes of options, and knows nothing of the container's owners
        layers = [overlay_options(one), [0, 0] if one.get("uidMappings") else [], *options.attributes(sorted_.words)]
        return [["filesystem", kind, target, layers], *_altered(target, sorted_)]
    if late(one):
        number &= ~mount.MS_RDONLY
    if around.label and kind not in _UNLABELLED:
        data = [*data, f'context="{around.label}"']
    name = "copied_up" if kind == "tmpfs" and "tmpcopyup" in sorted_.others else "filesystem"
    made: Step = [name, kind, target, [one.get("source") or kind, number, ",".join(data)]]
    return [made, *_altered(target, sorted_)]


def _altered(target: str, sorted_: Options) -> list[Step]:
    """What mount(2) cannot do at once: the attributes for all below, and the propagation."""
    deep = options.attributes(sorted_.deep)
    return (
        [["alter", target, deep, [list(pair) for pair in sorted_.propagation]]]
        if any((*deep, sorted_.propagation))
        else []
    )


def is_bind(one: dict[str, Any]) -> bool:
    """Whether this entry shows a path of the host."""
    return one.get("type") == "bind" or bool({"bind", "rbind"} & set(one.get("options") or []))


def _bind(one: dict[str, Any], target: str, sorted_: Options, mapped: Any) -> Step:
    source = one.get("source", "")
    if not source.startswith("/"):
        raise InvalidArgument(f"mount {target}: its source {source!r} must be an absolute path of the host")
    if sorted_.data:
        told = ", ".join(sorted_.data)
        raise InvalidArgument(
            f"mount {target}: a bind has no file system of its own for options as {told}; leave them out"
        )
    if "remount" in sorted_.words:
        flags = options.flags(sorted_.words) | mount.MS_BIND
        return ["filesystem", "", target, [source, flags, ""]]
    on, off = options.attributes(sorted_.words)
    how = {
        "recursive": sorted_.recursive,
        "early": _early(sorted_),
        "set": on,
        "clear": off,
        "deep": options.attributes(sorted_.deep),
        "propagation": [list(pair) for pair in sorted_.propagation] or [[mount.MS_PRIVATE, True]],
        "mapped": mapped,
    }
    return ["bind", source, target, how]


def _mapped(one: dict[str, Any], sorted_: Options, owner: Owner) -> list[Any] | None:
    """[uid_map, gid_map, with all below] of an id-mapped mount; empty maps: those of the container's own user
    namespace. None for one that is not mapped. Raises InvalidArgument."""
    users, groups = one.get("uidMappings") or [], one.get("gidMappings") or []
    words = {"idmap", "ridmap"} & set(sorted_.others)
    if not (users or groups or words):
        return None
    place, deep = f"mount {_target(one)}", "ridmap" in words
    if bool(users) != bool(groups):
        raise InvalidArgument(f"{place}: uidMappings and gidMappings go together")
    if not users and not owner.mapped:
        raise InvalidArgument(f"{place}: {words.pop()} needs uidMappings and gidMappings, or a user namespace")
    if not users or owner.same(users, groups):
        return ["", "", deep]
    return [lines(users), lines(groups), deep]


def _cgroup(target: str, sorted_: Options, around: Around) -> list[Step]:
    number, (own, path), host = options.flags(sorted_.words), around.cgroups, around.host
    if not host.hierarchies:
        if own:
            return [["filesystem", "cgroup2", target, ["cgroup", number, ",".join(sorted_.data)]]]
        on, off = options.attributes(sorted_.words)
        how = {"recursive": False, "early": False, "set": on, "clear": off, "deep": [0, 0]}
        return [["bind", "/sys/fs/cgroup" + path, target, {**how, "propagation": [], "mapped": None}]]
    mounts = [[name, data if own else "", where + path] for name, data, where in host.hierarchies]
    return [["cgroup_v1", target, number, {"mounts": mounts, "links": [list(link) for link in host.links]}]]
