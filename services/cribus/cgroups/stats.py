"""Usage of a cgroup, the same figures for both versions: what CRI's ContainerStats asks for.

Bytes and nanoseconds throughout. Source: cgroup-v1/{memory,cpuacct,blkio-controller}.rst, cgroup-v2.rst, psi.rst.
"""

from __future__ import annotations

from cribus.cgroups import control
from cribus.cgroups.tree import Tree
from cribus.cgroups.v1 import V1


class Pressure:
    """One line of a pressure file: total in µs stalled, averages in per cent."""

    __slots__ = ("avg10", "avg60", "avg300", "total")

    def __init__(self, total: int, averages: tuple[float, float, float]) -> None:
        self.total = total
        self.avg10, self.avg60, self.avg300 = averages


class Psi:
    """`some` and `full` of one resource; None where the kernel does not say."""

    __slots__ = ("full", "some")

    def __init__(self, text: str) -> None:
        lines = {line.split(" ", 1)[0]: _pressure(line) for line in text.splitlines() if line}
        self.some = lines.get("some")
        self.full = lines.get("full")


class Memory:
    """`limit` 0: none. `working_set` is what cannot be dropped: usage without inactive file pages."""

    __slots__ = ("limit", "major_faults", "page_faults", "rss", "usage", "working_set")

    def __init__(self, usage: int, limit: int) -> None:
        self.usage = usage
        self.limit = limit
        self.working_set = self.rss = self.page_faults = self.major_faults = 0


class Io:
    __slots__ = ("read_bytes", "reads", "write_bytes", "writes")

    def __init__(self) -> None:
        self.read_bytes = self.write_bytes = self.reads = self.writes = 0


class Stats:
    """One reading. `cpu_ns` is processor time since the cgroup was made; `pids` counts threads too.
    `swap` is None without swap accounting, `swap_limit` without a limit, `psi` (cpu, memory, io) empty on v1."""

    __slots__ = ("cpu_ns", "io", "memory", "pids", "psi", "swap", "swap_limit")

    def __init__(self, cpu_ns: int, memory: Memory, pids: int) -> None:
        self.cpu_ns = cpu_ns
        self.memory = memory
        self.pids = pids
        self.swap: int | None = None
        self.swap_limit: int | None = None
        self.io = Io()
        self.psi: dict[str, Psi] = {}


def read(tree: Tree, path: str) -> Stats:
    """Usage of the cgroup and all below it; zeros for one that is gone."""
    if isinstance(tree, V1):
        return _read_v1(tree, path)
    return _read_v2(tree.directory(path))


def _read_v1(tree: V1, path: str) -> Stats:
    memory_directory = tree.mounts.get("memory", "") + path
    stat = control.keyed(memory_directory + "/memory.stat")
    usage = control.number(memory_directory + "/memory.usage_in_bytes")
    limit = control.number(memory_directory + "/memory.limit_in_bytes")
    memory = Memory(usage, 0 if limit >= control.UNLIMITED_V1 else limit)
    memory.working_set = max(0, usage - stat.get("total_inactive_file", 0))
    memory.rss = stat.get("total_rss", 0)
    memory.page_faults = stat.get("total_pgfault", 0)
    memory.major_faults = stat.get("total_pgmajfault", 0)
    cpu = control.number(tree.mounts.get("cpuacct", "") + path + "/cpuacct.usage")
    stats = Stats(cpu, memory, control.number(tree.mounts.get("pids", "") + path + "/pids.current"))
    together = control.number(memory_directory + "/memory.memsw.usage_in_bytes", -1)
    if together >= 0:
        stats.swap = max(0, together - usage)
        both = control.number(memory_directory + "/memory.memsw.limit_in_bytes")
        stats.swap_limit = None if both >= control.UNLIMITED_V1 else max(0, both - limit)
    blkio = tree.mounts.get("blkio", "") + path
    stats.io.read_bytes, stats.io.write_bytes = _blkio(blkio, "io_service_bytes")
    stats.io.reads, stats.io.writes = _blkio(blkio, "io_serviced")
    return stats


def _blkio(directory: str, name: str) -> tuple[int, int]:
    """(read, written) over all devices: lines `8:0 Read 4096`."""
    text = control.read_or(f"{directory}/blkio.throttle.{name}_recursive", "")
    words = [line.split() for line in text.splitlines()]
    return (
        sum(int(word[2]) for word in words if len(word) == 3 and word[1] == "Read"),
        sum(int(word[2]) for word in words if len(word) == 3 and word[1] == "Write"),
    )


def _read_v2(directory: str) -> Stats:
    stat = control.keyed(directory + "/memory.stat")
    usage = control.number(directory + "/memory.current")
    memory = Memory(usage, control.number(directory + "/memory.max"))
    memory.working_set = max(0, usage - stat.get("inactive_file", 0))
    memory.rss = stat.get("anon", 0)
    memory.page_faults = stat.get("pgfault", 0)
    memory.major_faults = stat.get("pgmajfault", 0)
    cpu = control.keyed(directory + "/cpu.stat").get("usage_usec", 0) * 1000
    stats = Stats(cpu, memory, control.number(directory + "/pids.current"))
    swap = control.number(directory + "/memory.swap.current", -1)
    stats.swap = swap if swap >= 0 else None
    most = control.number(directory + "/memory.swap.max", -1)
    stats.swap_limit = most if most >= 0 else None
    _io_stat(control.read_or(directory + "/io.stat", ""), stats.io)
    for name in ("cpu", "memory", "io"):
        if text := control.read_or(f"{directory}/{name}.pressure", ""):
            stats.psi[name] = Psi(text)
    return stats


def _io_stat(text: str, io: Io) -> None:
    for line in text.splitlines():
        values = dict(word.split("=", 1) for word in line.split()[1:] if "=" in word)
        io.read_bytes += int(values.get("rbytes", 0))
        io.write_bytes += int(values.get("wbytes", 0))
        io.reads += int(values.get("rios", 0))
        io.writes += int(values.get("wios", 0))


def _pressure(line: str) -> Pressure:
    values = dict(word.split("=", 1) for word in line.split()[1:])
    averages = (float(values["avg10"]), float(values["avg60"]), float(values["avg300"]))
    return Pressure(int(values["total"]), averages)
