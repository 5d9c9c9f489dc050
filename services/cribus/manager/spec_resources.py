"""CRI's resources as the runtime-spec's. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from cribus.api.cri.security import LinuxContainerResources
from cribus.errors import FailedPrecondition, InvalidArgument
from cribus.manager.host import Host
from cribus.oci.runtime_spec import Cpu, Memory, Resources

_BIGGEST_SHARES = 262144


def resources(asked: LinuxContainerResources, host: Host) -> Resources:
    """Limits; what is zero in CRI is left as it is.

    Raises InvalidArgument for a limit that cannot be, FailedPrecondition for one that this host
    cannot set.
    """
    _check(asked)
    made: Resources = {}
    cpu = _cpu(asked)
    memory = _memory(asked, host)
    if cpu:
        made["cpu"] = cpu
    if memory:
        made["memory"] = memory
    if asked.hugepage_limits and host.hugetlb:
        made["hugepageLimits"] = [{"pageSize": one.page_size, "limit": one.limit} for one in asked.hugepage_limits]
    elif any(one.limit for one in asked.hugepage_limits):
        raise FailedPrecondition("hugepage_limits: this host has no hugetlb cgroup controller")
    if asked.unified:
        if not host.unified:
            raise FailedPrecondition("resources.unified needs cgroup v2; this host has v1")
        made["unified"] = dict(asked.unified)
    return made


def oom_score(asked: LinuxContainerResources, host: Host) -> int:
    """oom_score_adj, not lower than this process may set it (as containerd's restrict_oom_score_adj)."""
    return max(asked.oom_score_adj, host.oom_score_floor)


def merged(old: LinuxContainerResources, new: LinuxContainerResources) -> LinuxContainerResources:
    """What holds after an update: a zero or empty field of the update changes nothing."""
    fields = {name: getattr(new, name) or getattr(old, name) for name in new.__struct_fields__}
    return LinuxContainerResources(**{**fields, "unified": {**old.unified, **new.unified}})


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Limits in the runtime-spec's shape with others over them; rules for devices are appended."""
    made = dict(below)
    for name, value in above.items():
        if name == "devices":
            made[name] = [*made.get(name, []), *value]
        elif name == "hugepageLimits":
            sizes = {one["pageSize"] for one in value}
            made[name] = [one for one in made.get(name, []) if one["pageSize"] not in sizes] + value
        elif isinstance(value, dict):
            made[name] = {**made.get(name, {}), **value}
        else:
            made[name] = value
    return made


def of_pod(
    resources: LinuxContainerResources | None, overhead: LinuxContainerResources | None
) -> LinuxContainerResources:
    """What a pod may use: what its containers may together, and what it costs besides. Without a limit of the
    former there is none: the overhead alone would be too little."""
    base, more = resources or LinuxContainerResources(), overhead or LinuxContainerResources()
    period = base.cpu_period or 100_000
    extra = more.cpu_quota * period // (more.cpu_period or 100_000)
    return msgspec.structs.replace(
        base,
        cpu_shares=base.cpu_shares and base.cpu_shares + more.cpu_shares,
        cpu_quota=base.cpu_quota + extra if base.cpu_quota > 0 else base.cpu_quota,
        memory_limit_in_bytes=base.memory_limit_in_bytes + more.memory_limit_in_bytes
        if base.memory_limit_in_bytes > 0
        else base.memory_limit_in_bytes,
    )


def _cpu(asked: LinuxContainerResources) -> Cpu:
    cpu: Cpu = {}
    if asked.cpu_shares:
        cpu["shares"] = min(max(asked.cpu_shares, 2), _BIGGEST_SHARES)
    if asked.cpu_quota:
        cpu["quota"] = asked.cpu_quota
    if asked.cpu_period:
        cpu["period"] = asked.cpu_period
    if asked.cpuset_cpus:
        cpu["cpus"] = asked.cpuset_cpus
    if asked.cpuset_mems:
        cpu["mems"] = asked.cpuset_mems
    return cpu


def _memory(asked: LinuxContainerResources, host: Host) -> Memory:
    memory: Memory = {}
    limit, swap = asked.memory_limit_in_bytes, asked.memory_swap_limit_in_bytes
    if limit:
        memory["limit"] = limit
    # memory + swap equal to memory: no swapping, unless it is asked for
    if host.swap and (swap or limit):
        memory["swap"] = swap or limit
    return memory


def _check(asked: LinuxContainerResources) -> None:
    limit, swap = asked.memory_limit_in_bytes, asked.memory_swap_limit_in_bytes
    if limit < -1 or swap < -1 or asked.cpu_shares < 0 or asked.cpu_period < 0:
        raise InvalidArgument("resources: a limit is negative; 0 leaves it alone, -1 lifts a memory limit")
    if limit > 0 and 0 < swap < limit:
        raise InvalidArgument(
            f"resources: memory_swap_limit_in_bytes {swap} is below memory_limit_in_bytes {limit}; it counts both"
        )
    if not -1000 <= asked.oom_score_adj <= 1000:
        raise InvalidArgument(f"resources: oom_score_adj {asked.oom_score_adj} is not from -1000 to 1000")
