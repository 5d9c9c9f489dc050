"""Which cgroups this host has: v1, hybrid (v1 controllers beside a v2 tree) or v2, and where.

`open_tree` is the room's front door. A hybrid host counts as v1: its controllers live there.
"""

from __future__ import annotations

from cribus.cgroups.tree import Tree
from cribus.errors import FailedPrecondition

__all__ = ["Tree", "hierarchies", "open_tree"]


def hierarchies(mountinfo: str) -> tuple[dict[str, str], str]:
    """(v1 controller or `name=…` → mount point, mount point of cgroup2 or "") of /proc/self/mountinfo (5)."""
    v1: dict[str, str] = {}
    v2 = ""
    for line in mountinfo.splitlines():
        if " - cgroup" not in line:  # a node with many pods has thousands of others
            continue
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2) if after.count(" ") >= 2 else ("", "", "")
        where = before.split(" ")[4]
        if kind == "cgroup2" and not v2:
            v2 = where
        if kind == "cgroup":
            for option in options.split(","):
                if option in _CONTROLLERS or option.startswith("name="):
                    v1.setdefault(option, where)
    return v1, v2


_CONTROLLERS = {"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio"}
_CONTROLLERS |= {"pids", "hugetlb", "rdma", "net_cls", "net_prio", "perf_event", "misc"}


def open_tree(driver: str = "cgroupfs", root: str = "cribus") -> Tree:
    """The host's tree. Raises FailedPrecondition when no cgroup file system is mounted."""
    with open("/proc/self/mountinfo") as file:
        v1, v2 = hierarchies(file.read())
    if v1.keys() & _CONTROLLERS:
        from cribus.cgroups.v1 import V1

        return V1(driver, root, v1, v2)
    if v2:
        from cribus.cgroups.v2 import V2

        return V2(driver, root, v2)
    raise FailedPrecondition("no cgroup file system is mounted: mount cgroup2 at /sys/fs/cgroup")
