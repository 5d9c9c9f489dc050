"""Resources in NRI's words and in CRI's. Pure.

CRI has no words for some of NRI's (a limit of processes, a memory reservation); these go beside it, in the
runtime-spec's shape.
"""

from typing import Any

from cribus.api.cri.security import HugepageLimit, LinuxContainerResources
from cribus.errors import FailedPrecondition
from cribus.manager.nri import messages as m
from cribus.manager.nri.protobuf import plain

Extra = dict[str, Any]
_MEMORY = ("reservation", "swappiness", "disableOOMKiller")  # Linux has no more what else NRI names
_CPU = ("realtimeRuntime", "realtimePeriod")


def of_cri(given: LinuxContainerResources | None) -> m.Resources | None:
    """CRI's as a plugin sees them; what is zero is not given."""
    if given is None:
        return None
    return m.Resources(
        memory=m.Memory(
            limit=given.memory_limit_in_bytes or None,
            swap=given.memory_swap_limit_in_bytes or None,
        ),
        cpu=m.Cpu(
            shares=given.cpu_shares or None,
            quota=given.cpu_quota or None,
            period=given.cpu_period or None,
            cpus=given.cpuset_cpus,
            mems=given.cpuset_mems,
        ),
        hugepageLimits=[m.HugepageLimit(pageSize=one.page_size, limit=one.limit) for one in given.hugepage_limits],
        unified=dict(given.unified),
    )


def to_cri(given: m.Resources | None) -> tuple[LinuxContainerResources, Extra]:
    """A plugin's in CRI's words, and what CRI has no words for.

    Raises FailedPrecondition for a class of block I/O: no classes are configured here.
    """
    given = given or m.Resources()
    if given.blockio_class:
        raise FailedPrecondition(f"there is no block I/O class {given.blockio_class!r}: set unified io.* or blockIO")
    memory, cpu = given.memory or m.Memory(), given.cpu or m.Cpu()
    told = LinuxContainerResources(
        cpu_period=cpu.period or 0,
        cpu_quota=cpu.quota or 0,
        cpu_shares=cpu.shares or 0,
        memory_limit_in_bytes=memory.limit or 0,
        memory_swap_limit_in_bytes=memory.swap or 0,
        cpuset_cpus=cpu.cpus,
        cpuset_mems=cpu.mems,
        hugepage_limits=[HugepageLimit(page_size=one.pageSize, limit=one.limit) for one in given.hugepageLimits],
        unified=dict(given.unified),
    )
    return told, _extra(given, memory, cpu)


def _extra(given: m.Resources, memory: m.Memory, cpu: m.Cpu) -> Extra:
    extra: Extra = {"memory": _given(memory, _MEMORY), "cpu": _given(cpu, _CPU)}
    if given.pids is not None:
        extra["pids"] = {"limit": given.pids.limit or -1}
    if given.devices:
        extra["devices"] = [plain(one) for one in given.devices]
    return {name: value for name, value in extra.items() if value}


def _given(one: m.Memory | m.Cpu, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(one, name) for name in names if getattr(one, name) is not None}
