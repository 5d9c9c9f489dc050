"""Reading what metrics show and statistics do not: cgroup files by their names in both versions, and
/proc of the cgroup's processes. Sources: cgroup-v1/memory.rst, cgroup-v2.rst."""

import os

from cribus.cgroups import control, oom, stats
from cribus.cgroups.tree import Tree
from cribus.cgroups.v1 import V1

_HERTZ = os.sysconf("SC_CLK_TCK")


class Reading:
    """Values by name; `labelled` holds those that a label tells apart."""

    __slots__ = ("device", "labelled", "values")

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.labelled: dict[str, list[tuple[list[str], int]]] = {}
        self.device = ""


def read(tree: Tree, cgroup: str) -> Reading:
    """One reading of a cgroup. Blocks a little: run it in a thread."""
    reading = Reading()
    _common(reading, stats.read(tree, cgroup))
    if isinstance(tree, V1):
        _cpu_v1(reading, tree, cgroup)
        _memory_v1(reading, f"{tree.mounts.get('memory', '')}{cgroup}")
        limit = control.read_or(f"{tree.mounts.get('pids', '')}{cgroup}/pids.max", "max")
    else:
        _cpu_v2(reading, tree.directory(cgroup))
        _memory_v2(reading, tree.directory(cgroup))
        limit = control.read_or(f"{tree.directory(cgroup)}/pids.max", "max")
    reading.values["threads_max"] = int(limit) if limit.isdigit() else 0
    reading.values["oom_kills"] = oom.oom_kills(cgroup)
    _processes(reading, tree.pids(cgroup))
    return reading


def _common(reading: Reading, seen: stats.Stats) -> None:
    memory = seen.memory
    reading.values |= {
        "cpu_usage": seen.cpu_ns // 10**9,
        "memory_rss": memory.rss,
        "memory_usage": memory.usage,
        "memory_working_set": memory.working_set,
        "memory_swap": seen.swap or 0,
        "spec_memory": memory.limit,
        "spec_swap": memory.limit + (seen.swap_limit or 0),
        "spec_reservation": 0,
        "threads": seen.pids,
        "io_read_bytes": seen.io.read_bytes,
        "io_reads": seen.io.reads,
        "io_write_bytes": seen.io.write_bytes,
        "io_writes": seen.io.writes,
    }
    reading.labelled["io_usage"] = [(["", "Read"], seen.io.read_bytes), (["", "Write"], seen.io.write_bytes)]
    minor = memory.page_faults - memory.major_faults
    reading.labelled["faults"] = [(["pgfault", "container"], minor), (["pgmajfault", "container"], memory.major_faults)]
    for resource, psi in seen.psi.items():
        if psi.some:
            reading.values[f"psi_{resource}_some"] = psi.some.total // 10**6
        if psi.full:
            reading.values[f"psi_{resource}_full"] = psi.full.total // 10**6


def _cpu_v1(reading: Reading, tree: V1, cgroup: str) -> None:
    used = control.keyed(f"{tree.mounts.get('cpuacct', '')}{cgroup}/cpuacct.stat")
    throttled = control.keyed(f"{tree.mounts.get('cpu', '')}{cgroup}/cpu.stat")
    cpu = f"{tree.mounts.get('cpu', '')}{cgroup}"
    reading.values |= {
        "cpu_user": used.get("user", 0) // _HERTZ,
        "cpu_system": used.get("system", 0) // _HERTZ,
        "cfs_periods": throttled.get("nr_periods", 0),
        "cfs_throttled": throttled.get("nr_throttled", 0),
        "cfs_throttled_time": throttled.get("throttled_time", 0) // 10**9,
        "spec_cpu_period": control.number(f"{cpu}/cpu.cfs_period_us"),
        "spec_cpu_quota": max(0, control.number(f"{cpu}/cpu.cfs_quota_us")),
        "spec_cpu_shares": control.number(f"{cpu}/cpu.shares"),
    }


def _cpu_v2(reading: Reading, directory: str) -> None:
    stat = control.keyed(f"{directory}/cpu.stat")
    quota, _, period = control.read_or(f"{directory}/cpu.max", "max 100000").partition(" ")
    weight = control.number(f"{directory}/cpu.weight", 100)
    reading.values |= {
        "cpu_user": stat.get("user_usec", 0) // 10**6,
        "cpu_system": stat.get("system_usec", 0) // 10**6,
        "cfs_periods": stat.get("nr_periods", 0),
        "cfs_throttled": stat.get("nr_throttled", 0),
        "cfs_throttled_time": stat.get("throttled_usec", 0) // 10**6,
        "spec_cpu_period": int(period),
        "spec_cpu_quota": int(quota) if quota.isdigit() else 0,
        "spec_cpu_shares": max(2, weight * 1024 // 100),
    }


def _memory_v1(reading: Reading, directory: str) -> None:
    stat = control.keyed(f"{directory}/memory.stat")
    reading.values |= {
        "memory_cache": stat.get("total_cache", 0),
        "memory_mapped": stat.get("total_mapped_file", 0),
        "memory_active_file": stat.get("total_active_file", 0),
        "memory_inactive_file": stat.get("total_inactive_file", 0),
        "memory_kernel": control.number(f"{directory}/memory.kmem.usage_in_bytes"),
        "memory_failcnt": control.number(f"{directory}/memory.failcnt"),
        "memory_max": control.number(f"{directory}/memory.max_usage_in_bytes"),
    }


def _memory_v2(reading: Reading, directory: str) -> None:
    stat = control.keyed(f"{directory}/memory.stat")
    reading.values |= {
        "memory_cache": stat.get("file", 0),
        "memory_mapped": stat.get("file_mapped", 0),
        "memory_active_file": stat.get("active_file", 0),
        "memory_inactive_file": stat.get("inactive_file", 0),
        "memory_kernel": stat.get("kernel", 0),
        "memory_failcnt": control.keyed(f"{directory}/memory.events").get("max", 0),
        "memory_max": control.number(f"{directory}/memory.peak"),
    }


def _processes(reading: Reading, pids: list[int]) -> None:
    """Descriptors and sockets of all of them; one that ends meanwhile counts no more."""
    descriptors = sockets = 0
    for pid in pids:
        try:
            found = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        descriptors += len(found)
        sockets += sum(1 for target in found if target.startswith("socket:"))
    reading.values |= {"processes": len(pids), "descriptors": descriptors, "sockets": sockets}
