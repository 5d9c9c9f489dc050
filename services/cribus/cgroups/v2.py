"""cgroup v2: one tree. Source: Documentation/admin-guide/cgroup-v2.rst; conversions from v1's units as runc does."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import select
import signal
import time

from cribus.cgroups import control, devices, ignored, systemd
from cribus.cgroups.tree import DEADLINE, Tree
from cribus.cgroups.v1 import pids_max, rdma_limits
from cribus.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument, Unimplemented

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Writes = list[tuple[str, str]]

_IO_MAX = {
    "throttleReadBpsDevice": "rbps",
    "throttleWriteBpsDevice": "wbps",
    "throttleReadIOPSDevice": "riops",
    "throttleWriteIOPSDevice": "wiops",
}
_NOT_LIMITS = frozenset(f"cgroup.{name}" for name in ("procs", "threads", "type", "subtree_control", "freeze", "kill"))
_UNIT_LIMITS = {
    "memory.min": "MemoryMin",
    "memory.low": "MemoryLow",
    "memory.high": "MemoryHigh",
    "memory.max": "MemoryMax",
    "memory.swap.max": "MemorySwapMax",
    "cpu.weight": "CPUWeight",
    "io.weight": "IOWeight",
    "pids.max": "TasksMax",
}


class V2(Tree):
    """The tree below one cgroup2 mount."""

    __slots__ = ("mount",)
    version = 2

    def __init__(self, driver: str, root: str, mount: str) -> None:
        super().__init__(driver, root)
        self.mount = mount

    def directory(self, path: str) -> str:
        return self.mount + path

    def directories(self, path: str) -> list[str]:
        return [self.mount + path]

    def create(self, path: str) -> None:
        above = ""
        for name in path.strip("/").split("/"):
            _delegate(self.mount + above)
            above += "/" + name
            control.make(self.mount + above)

    def join_self_paths(self, path: str) -> list[str]:
        return [f"{self.mount}{path}/cgroup.procs"]

    def apply(self, path: str, resources: dict[str, Any]) -> None:
        for writes in (
            self._cpu(path, resources.get("cpu") or {}),
            self._memory(path, resources.get("memory") or {}),
            self._pids(path, resources.get("pids") or {}),
            self._io(path, resources.get("blockIO") or {}),
            self._others(path, resources),
            self._unified(path, resources.get("unified") or {}),
        ):
            control.write_all(writes)
        if resources.get("devices"):
            devices.attach(self.mount + path, resources["devices"])

    def _file(self, path: str, name: str) -> str:
        return f"{self.mount}{path}/{name}"

    def _cpu(self, path: str, cpu: dict[str, Any]) -> Writes:
        writes: Writes = []
        if cpu.get("idle") is not None:
            writes.append((self._file(path, "cpu.idle"), str(cpu["idle"])))
        if cpu.get("shares") and not cpu.get("idle"):
            writes.append((self._file(path, "cpu.weight"), str(weight_of_shares(cpu["shares"]))))
        quota, period = cpu.get("quota") or 0, cpu.get("period") or 0
        if quota or period:
            have = control.read_or(self._file(path, "cpu.max"), "max 100000").split()
            limit = str(quota) if quota > 0 else "max" if quota < 0 else have[0]
            writes.append((self._file(path, "cpu.max"), f"{limit} {period or have[1]}"))
        if cpu.get("burst") is not None:
            writes.append((self._file(path, "cpu.max.burst"), str(cpu["burst"])))
        for key in ("cpus", "mems"):
            if cpu.get(key):
                writes.append((self._file(path, f"cpuset.{key}"), cpu[key]))
        return writes

    def _memory(self, path: str, memory: dict[str, Any]) -> Writes:
        writes: Writes = []
        swap = swap_max(memory.get("limit") or 0, memory.get("swap") or 0)
        if memory.get("checkBeforeUpdate"):
            self._check_usage(path, memory)
        if swap and self._accounts_swap(path):
            writes.append((self._file(path, "memory.swap.max"), swap))
        elif swap not in ("", "0", "max"):
            raise Unimplemented(ignored.NO_SWAP)
        for key, name in (("limit", "memory.max"), ("reservation", "memory.low")):
            if memory.get(key):
                writes.append((self._file(path, name), _max(memory[key])))
        return writes

    def _check_usage(self, path: str, memory: dict[str, Any]) -> None:
        """v1's kernel refuses a limit below what is in use, v2's takes it and kills."""
        usage = control.number(self._file(path, "memory.current"))
        for name in ("limit", "swap"):
            if 0 < (memory.get(name) or 0) <= usage:
                raise FailedPrecondition(f"memory.{name} {memory[name]} is not above the {usage} bytes in use")

    def _accounts_swap(self, path: str) -> bool:
        return os.path.exists(self._file(path, "memory.swap.max"))

    def ignored(self, path: str, resources: dict[str, Any]) -> list[str]:
        unbounded = bool((resources.get("memory") or {}).get("swap")) and not self._accounts_swap(path)
        pages = ignored.pages(resources, lambda size: os.path.exists(self._file(path, f"hugetlb.{size}.max")))
        return [*ignored.everywhere(resources, unbounded), *pages, *ignored.on_v2(resources)]

    def _pids(self, path: str, pids: dict[str, Any]) -> Writes:
        return [] if pids.get("limit") is None else [(self._file(path, "pids.max"), pids_max(pids["limit"]))]

    def _io(self, path: str, block: dict[str, Any]) -> Writes:
        writes: Writes = []
        bfq = os.path.exists(self._file(path, "io.bfq.weight"))
        name = self._file(path, "io.bfq.weight" if bfq else "io.weight")
        if block.get("weight"):
            writes.append((name, str(block["weight"]) if bfq else f"default {io_weight(block['weight'])}"))
        for one in block.get("weightDevice") or []:
            if one.get("weight"):
                value = one["weight"] if bfq else io_weight(one["weight"])
                writes.append((name, f"{one['major']}:{one['minor']} {value}"))
        for key, word in _IO_MAX.items():
            for one in block.get(key) or []:
                text = f"{one['major']}:{one['minor']} {word}={one['rate'] or 'max'}"
                writes.append((self._file(path, "io.max"), text))
        return writes

    def _others(self, path: str, resources: dict[str, Any]) -> Writes:
        writes: Writes = []
        for one in resources.get("hugepageLimits") or []:
            name = self._file(path, f"hugetlb.{one['pageSize']}.max")
            # The kubelet names every page size, limited or not: without the controller there is nothing to limit.
            if one["limit"] or os.path.exists(name):
                reserved = self._file(path, f"hugetlb.{one['pageSize']}.rsvd.max")
                writes += [
                    (file, str(one["limit"])) for file in (name, reserved) if file == name or os.path.exists(file)
                ]
        for device, one in (resources.get("rdma") or {}).items():
            writes.append((self._file(path, "rdma.max"), f"{device} {rdma_limits(one)}"))
        return writes

    def _unified(self, path: str, unified: dict[str, str]) -> Writes:
        for name in unified:
            if "/" in name or name in _NOT_LIMITS:
                raise InvalidArgument(f"resources.unified may not name {name!r}: name a controller's file")
        return [(self._file(path, name), line) for name, text in unified.items() for line in text.splitlines()]

    def limits(self, path: str) -> list[systemd.Property]:
        found: list[systemd.Property] = []
        for name, unit in _UNIT_LIMITS.items():
            if text := control.read_or(self._file(path, name), ""):
                found.append((unit, "t", systemd.amount(text.splitlines()[0].removeprefix("default "))))
        if text := control.read_or(self._file(path, "cpu.max"), ""):
            limit, period = text.split()
            found += systemd.quota(limit, period)
        for name, unit in (("cpuset.cpus", "AllowedCPUs"), ("cpuset.mems", "AllowedMemoryNodes")):
            if text := control.read_or(self._file(path, name), ""):
                found.append((unit, "ay", systemd.mask(text)))
        return found

    def freeze(self, path: str, seconds: float = DEADLINE) -> None:
        control.write_all([(self._file(path, "cgroup.freeze"), "1")])
        try:
            _await_event(self._file(path, "cgroup.events"), "frozen", time.monotonic() + seconds)
        except DeadlineExceeded:
            control.write_all([(self._file(path, "cgroup.freeze"), "0")])
            raise

    def thaw(self, path: str) -> None:
        try:
            control.write(self._file(path, "cgroup.freeze"), "0")
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise

    def frozen(self, path: str) -> bool:
        return control.read_or(self._file(path, "cgroup.freeze"), "0") == "1"

    def kill(self, path: str) -> None:
        try:
            control.write(self._file(path, "cgroup.kill"), "1")
        except OSError as error:
            if error.errno == errno.ENODEV or not os.path.isdir(self.mount + path):
                return
            if error.errno != errno.ENOENT:
                raise
            self._kill_one_by_one(path)  # cgroup.kill came with Linux 5.14

    def _kill_one_by_one(self, path: str) -> None:
        """Frozen, nobody can fork away; on v2 SIGKILL acts on a frozen process."""
        with contextlib.suppress(FileNotFoundError):
            control.write(self._file(path, "cgroup.freeze"), "1")
        control.signal_all(self.pids(path), signal.SIGKILL)
        self.thaw(path)


def _delegate(directory: str) -> None:
    """Give the cgroup's children every controller that it has."""
    file = directory + "/cgroup.subtree_control"
    missing = set(control.read(directory + "/cgroup.controllers").split()) - set(control.read(file).split())
    if not missing:
        return
    try:
        control.write(file, " ".join("+" + name for name in sorted(missing)))
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise FailedPrecondition(
                f"cgroup {directory} holds processes itself, so its children get no limits: move them into a child"
            ) from error
        for name in missing:  # one that the kernel refuses (cpu with real-time tasks) must not cost us the rest
            with contextlib.suppress(OSError):
                control.write(file, "+" + name)


def _await_event(file: str, key: str, until: float) -> None:
    """Wait until `key` is 1 in cgroup.events, which the kernel reports by POLLPRI."""
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        while f"{key} 1" not in os.pread(fd, 4096, 0).decode():
            left = until - time.monotonic()
            if left <= 0:
                raise DeadlineExceeded(f"{file} does not reach {key}: a process of it waits in the kernel (state D)")
            poll.poll(left * 1000)
    finally:
        os.close(fd)


def weight_of_shares(shares: int) -> int:
    """cpu.weight (1-10000, 100) of cpu.shares (2-262144, 1024), so that both defaults meet.

    The quadratic of logarithms that runc and crun use since 2025 (opencontainers/cgroups).
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    power = math.log2(shares)
    return math.ceil(10 ** ((power * power + 125 * power) / 612.0 - 7.0 / 34.0))


def io_weight(weight: int) -> int:
    """io.weight (1-10000) of blkio weight (10-1000)."""
    return 1 + (weight - 10) * 9999 // 990


def swap_max(limit: int, swap: int) -> str:
    """memory.swap.max of runtime-spec's limit and memory+swap; "" leaves it as it is."""
    if swap < 0 or (limit < 0 and swap == 0):
        return "max"
    if swap == 0:
        return ""
    if limit <= 0:
        raise InvalidArgument(
            "memory.swap is memory and swap together, and cgroup v2 parts them: give memory.limit too"
        )
    if swap < limit:
        raise InvalidArgument(f"memory.swap {swap} is memory and swap together: it must be at least the limit {limit}")
    return str(swap - limit)


def _max(value: int) -> str:
    return "max" if value < 0 else str(value)
