"""What the plans must know of this host. Read once, when the executor starts."""

import os
from typing import NamedTuple

from cribus.linux import capabilities


class Host(NamedTuple):
    """`hierarchies` of cgroup v1: (directory name, superblock options that mount it again, mount point);
    empty on cgroup v2. `links` beside them: (controller, directory name)."""

    hierarchies: list[tuple[str, str, str]] = []
    links: list[tuple[str, str]] = []
    capabilities: int = 0  # that a child may hold
    last_capability: int = 40
    resctrl: bool = False  # classes of cache and memory bandwidth
    selinux: bool = False
    apparmor: bool = False


_FLAGS = ("rw", "ro", "xattr", "clone_children", "cpuset_v2_mode", "noprefix")


def look() -> Host:
    """This host. Raises OSError when /proc is not mounted."""
    with open("/proc/self/mountinfo") as file:
        found, links = hierarchies(file.read())
    return Host(
        hierarchies=found,
        links=links,
        capabilities=capabilities.current()["bounding"],
        last_capability=capabilities.last(),
        resctrl=has_resctrl(),
        selinux=os.path.exists("/sys/fs/selinux/enforce"),
        apparmor=has_apparmor(),
    )


def own_network(path: str) -> bool:
    """Whether that namespace is the one we are in. One that is not there is not: joining it will tell."""
    try:
        return os.path.samefile(path, "/proc/self/ns/net")
    except OSError:
        return False


def has_apparmor() -> bool:
    try:
        with open("/sys/module/apparmor/parameters/enabled") as file:
            return file.read().strip() == "Y"
    except FileNotFoundError:
        return False


def has_resctrl() -> bool:
    return os.path.exists("/sys/fs/resctrl/schemata")


def hierarchies(mountinfo: str) -> tuple[list[tuple[str, str, str]], list[tuple[str, str]]]:
    """The v1 hierarchies of a /proc/<pid>/mountinfo, and the links that controllers mounted together need."""
    found: dict[str, tuple[str, str, str]] = {}
    links = []
    for text in mountinfo.splitlines():
        if " - cgroup " not in text:
            continue
        before, _, after = text.partition(" - ")
        _, _, options = after.split(" ", 2)
        where = before.split(" ")[4]
        words = [word for word in options.split(",") if word not in _FLAGS and not word.startswith("release_agent")]
        name = os.path.basename(where)
        found.setdefault(",".join(words), (name, ",".join(words), where))
        links += [(word, name) for word in words if word != name and not word.startswith("name=")]
    return list(found.values()), links
