"""cgroup v1: a directory in each hierarchy. Source: Documentation/admin-guide/cgroup-v1/, runtime-spec config-linux.

Joining writes `tasks`, never `cgroup.procs`: the latter takes a global lock and, on an idle machine,
waits 12 to 20 ms for an RCU grace period.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time

from cribus.cgroups import control, devices, ignored, systemd
from cribus.cgroups.tree import DEADLINE, Tree
from cribus.errors import DeadlineExceeded, InvalidArgument, Unimplemented

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Writes = list[tuple[str, str]]

_MOST_SHARES = 262144
_CPU = {
    "shares": "cpu.shares",
    "quota": "cpu.cfs_quota_us",
    "period": "cpu.cfs_period_us",
    "realtimePeriod": "cpu.rt_period_us",
    "realtimeRuntime": "cpu.rt_runtime_us",
}
_MEMORY = {
    "limit": "memory.limit_in_bytes",
    "swap": "memory.memsw.limit_in_bytes",
    "reservation": "memory.soft_limit_in_bytes",
    "swappiness": "memory.swappiness",
}
_THROTTLE = {
    "throttleReadBpsDevice": "read_bps_device",
    "throttleWriteBpsDevice": "write_bps_device",
    "throttleReadIOPSDevice": "read_iops_device",
    "throttleWriteIOPSDevice": "write_iops_device",
}
_UNIT_LIMITS = (
    ("memory", "memory.limit_in_bytes", "MemoryLimit"),
    ("cpu", "cpu.shares", "CPUShares"),
    ("pids", "pids.max", "TasksMax"),
)


class V1(Tree):
    """The tree over v1 hierarchies; `mounts` is controller → mount point, `beside` that of a v2 tree, or ""."""

    __slots__ = ("beside", "mounts", "roots")
    version = 1

    def __init__(self, driver: str, root: str, mounts: dict[str, str], beside: str = "") -> None:
        super().__init__(driver, root)
        self.beside = beside
        self.mounts = mounts
        self.roots = list(dict.fromkeys(mounts.values()))  # controllers may share a hierarchy

    def directories(self, path: str) -> list[str]:
        return [mount + path for mount in self.roots]

    def strangers(self, path: str) -> list[str]:
        return [self.beside + path] if self.beside else []

    def directory(self, path: str) -> str:
        for controller in ("freezer", "pids", "memory"):
            if controller in self.mounts:
                return self.mounts[controller] + path
        return self.roots[0] + path

    def create(self, path: str) -> None:
        for mount in self.roots:
            _make(mount, path, mount == self.mounts.get("cpuset"))

    def join_self_paths(self, path: str) -> list[str]:
        return [f"{mount}{path}/tasks" for mount in self.roots]

    def apply(self, path: str, resources: dict[str, Any]) -> None:
        if resources.get("unified"):
            raise InvalidArgument("resources.unified needs cgroup v2, and this host has v1: name the limit itself")
        for writes in (
            self._cpu(path, resources.get("cpu") or {}),
            self._memory(path, resources.get("memory") or {}),
            self._pids(path, resources.get("pids") or {}),
            self._blkio(path, resources.get("blockIO") or {}),
            self._others(path, resources),
        ):
            control.write_all(writes)
        for line in devices.v1_lines(resources.get("devices") or []):
            name = "devices.allow" if line.startswith("+") else "devices.deny"
            control.write_all([(self._file("devices", path, name), line[1:])])

    def _file(self, controller: str, path: str, name: str) -> str:
        if controller not in self.mounts:
            raise Unimplemented(f"the {controller} cgroup hierarchy is not mounted: mount it or leave the limit out")
        return f"{self.mounts[controller]}{path}/{name}"

    def _cpu(self, path: str, cpu: dict[str, Any]) -> Writes:
        shares = cpu.get("shares") or 0
        if shares and not 2 <= shares <= _MOST_SHARES:  # the kernel takes others and sets what is next to them
            raise InvalidArgument(f"cpu.shares {shares} is not from 2 to {_MOST_SHARES}")
        writes = [(self._file("cpu", path, name), str(cpu[key])) for key, name in _CPU.items() if cpu.get(key)]
        if cpu.get("burst") is not None:
            burst = self._file("cpu", path, "cpu.cfs_burst_us")
            writes += [(burst, str(cpu["burst"]))] if cpu["burst"] or os.path.exists(burst) else []
        if cpu.get("idle") is not None:
            idle = (self._file("cpu", path, "cpu.idle"), str(cpu["idle"]))
            # An idle group has no shares of its own: the kernel refuses to set them.
            writes = [idle] + [one for one in writes if not (cpu["idle"] and one[0].endswith("/cpu.shares"))]
        for key in ("cpus", "mems"):
            if cpu.get(key):
                writes.append((self._file("cpuset", path, f"cpuset.{key}"), cpu[key]))
        return writes

    def _memory(self, path: str, memory: dict[str, Any]) -> Writes:
        wanted = {key: memory[key] for key in _MEMORY if memory.get(key)}
        if wanted.get("limit") == -1:
            wanted.setdefault("swap", -1)  # an unlimited group must not stay bounded by memory+swap
        if memory.get("swappiness") is not None:
            if not 0 <= memory["swappiness"] <= 100:
                raise InvalidArgument(f"memory.swappiness {memory['swappiness']} is not from 0 to 100")
            wanted["swappiness"] = memory["swappiness"]
        if "swap" in wanted and not self._accounts_swap(path):
            if not ignored.no_swap_needed(memory):
                raise Unimplemented(ignored.NO_SWAP)
            del wanted["swap"]
        writes = [(self._file("memory", path, _MEMORY[key]), str(value)) for key, value in wanted.items()]
        if memory.get("disableOOMKiller") is not None:
            writes.append((self._file("memory", path, "memory.oom_control"), str(int(memory["disableOOMKiller"]))))
        return writes

    def _accounts_swap(self, path: str) -> bool:
        return os.path.exists(self._file("memory", path, "memory.memsw.limit_in_bytes"))

    def ignored(self, path: str, resources: dict[str, Any]) -> list[str]:
        memory = resources.get("memory") or {}
        unbounded = bool(memory.get("swap")) and not self._accounts_swap(path)
        return [
            *ignored.everywhere(resources, unbounded),
            *ignored.pages(resources, lambda _: "hugetlb" in self.mounts),
        ]

    def _pids(self, path: str, pids: dict[str, Any]) -> Writes:
        if pids.get("limit") is None:
            return []
        return [(self._file("pids", path, "pids.max"), pids_max(pids["limit"]))]

    def _blkio(self, path: str, block: dict[str, Any]) -> Writes:
        writes: Writes = []
        if block.get("weight"):
            writes.append((self._weight(path, "weight"), str(block["weight"])))
        if block.get("leafWeight"):
            writes.append((self._leaf(path, "leaf_weight"), str(block["leafWeight"])))
        for one in block.get("weightDevice") or []:
            device = f"{one['major']}:{one['minor']}"
            if one.get("weight"):
                writes.append((self._weight(path, "weight_device"), f"{device} {one['weight']}"))
            if one.get("leafWeight"):
                writes.append((self._leaf(path, "leaf_weight_device"), f"{device} {one['leafWeight']}"))
        for key, name in _THROTTLE.items():
            for one in block.get(key) or []:
                text = f"{one['major']}:{one['minor']} {one['rate']}"
                writes.append((self._file("blkio", path, f"blkio.throttle.{name}"), text))
        return writes

    def _leaf(self, path: str, name: str) -> str:
        file = self._file("blkio", path, f"blkio.{name}")
        if not os.path.exists(file):
            raise Unimplemented(
                f"blockIO.leafWeight: this kernel has no blkio.{name}, which went with CFQ; leave it out"
            )
        return file

    def _weight(self, path: str, name: str) -> str:
        plain = self._file("blkio", path, f"blkio.{name}")
        bfq = self._file("blkio", path, f"blkio.bfq.{name}")
        return bfq if os.path.exists(bfq) and not os.path.exists(plain) else plain

    def _others(self, path: str, resources: dict[str, Any]) -> Writes:
        writes: Writes = []
        for one in resources.get("hugepageLimits") or []:
            # The kubelet names every page size, limited or not: without the hierarchy there is nothing to limit.
            if one["limit"] or "hugetlb" in self.mounts:
                kind = f"hugetlb.{one['pageSize']}"
                writes.append((self._file("hugetlb", path, f"{kind}.limit_in_bytes"), str(one["limit"])))
                reserved = self._file("hugetlb", path, f"{kind}.rsvd.limit_in_bytes")
                writes += [(reserved, str(one["limit"]))] if os.path.exists(reserved) else []
        for device, one in (resources.get("rdma") or {}).items():
            writes.append((self._file("rdma", path, "rdma.max"), f"{device} {rdma_limits(one)}"))
        network = resources.get("network") or {}
        if network.get("classID"):
            writes.append((self._file("net_cls", path, "net_cls.classid"), str(network["classID"])))
        for one in network.get("priorities") or []:
            writes.append((self._file("net_prio", path, "net_prio.ifpriomap"), f"{one['name']} {one['priority']}"))
        return writes

    def limits(self, path: str) -> list[systemd.Property]:
        found: list[systemd.Property] = []
        for controller, name, unit in _UNIT_LIMITS:
            if text := self._have(controller, path, name):
                found.append((unit, "t", systemd.amount(text)))
        if text := self._have("cpu", path, "cpu.cfs_quota_us"):
            found += systemd.quota(text, self._have("cpu", path, "cpu.cfs_period_us"))
        return found

    def _have(self, controller: str, path: str, name: str) -> str:
        return control.read_or(self._file(controller, path, name), "") if controller in self.mounts else ""

    def freeze(self, path: str, seconds: float = DEADLINE) -> None:
        state = self._file("freezer", path, "freezer.state")
        until, pause = time.monotonic() + seconds, 0.0002
        while True:
            # Writing again catches what was forked while the kernel walked the tasks.
            control.write_all([(state, "FROZEN")])
            if control.read(state) == "FROZEN":
                return
            if time.monotonic() > until:
                control.write_all([(state, "THAWED")])
                raise DeadlineExceeded(f"cgroup {path} does not freeze: a process of it waits in the kernel (state D)")
            select.select([], [], [], pause)  # the v1 freezer reports to nobody when it is done
            pause = min(pause * 2, 0.02)

    def thaw(self, path: str) -> None:
        try:
            control.write(self._file("freezer", path, "freezer.state"), "THAWED")
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise

    def frozen(self, path: str) -> bool:
        return "freezer" in self.mounts and control.read_or(self._file("freezer", path, "freezer.state"), "") in (
            "FROZEN",
            "FREEZING",
        )

    def kill(self, path: str) -> None:
        """Frozen, nobody can fork away or give its pid to another; the signals act on thawing."""
        if "freezer" not in self.mounts or not self.pids(path):
            control.signal_all(self.pids(path), signal.SIGKILL)
            return
        state = self._file("freezer", path, "freezer.state")
        try:
            control.write(state, "FROZEN")  # not waited for: who still runs is listed and killed all the same
            control.signal_all(self.pids(path), signal.SIGKILL)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise
        finally:
            self._thaw_all(path)

    def _thaw_all(self, path: str) -> None:
        """Thaw the cgroup and what is below: a paused child would keep its death waiting."""
        self.thaw(path)
        base = self.mounts["freezer"]
        for directory in control.tree_of(base + path):
            self.thaw(directory[len(base) :])


def pids_max(limit: int) -> str:
    """pids.max of a number of tasks; none may be forked either way when it is 0 or 1, and systemd takes no 0."""
    return "max" if limit < 0 else str(limit or 1)


def rdma_limits(one: dict[str, Any]) -> str:
    """`hca_handle=… hca_object=…` of runtime-spec's hcaHandles and hcaObjects."""
    names = {"hcaHandles": "hca_handle", "hcaObjects": "hca_object"}
    return " ".join(f"{name}={one[key]}" for key, name in names.items() if one.get(key) is not None)


def _make(mount: str, path: str, cpuset: bool) -> None:
    try:
        made = control.make(mount + path)
    except FileNotFoundError:
        _make(mount, os.path.dirname(path), cpuset)
        made = control.make(mount + path)
    if cpuset:
        _inherit_cpuset(mount, path)
    elif made and mount and os.path.dirname(path) == "/":
        _use_hierarchy(mount + path)


def _inherit_cpuset(mount: str, path: str) -> None:
    """A new cpuset is empty, and nothing may join an empty one: give it what its parent has."""
    for name in ("/cpuset.cpus", "/cpuset.mems"):
        own = mount + path + name
        if not control.read(own):
            parent = os.path.dirname(path)
            if parent != "/" and not control.read(mount + parent + name):
                _inherit_cpuset(mount, parent)
            control.write(own, control.read(mount + parent.rstrip("/") + name))


def _use_hierarchy(directory: str) -> None:
    """Before Linux 5.11 a memory group counted its children only when told to."""
    file = directory + "/memory.use_hierarchy"
    if control.read_or(file, "1") == "0":
        control.write(file, "1")
