"""Which of runtime-spec's linux.resources have no effect, by name: neither set nor refused. Pure.

runc 1.5.2 ignores these too, most of them without a word. A zero, which asks for nothing, is not told.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

NO_SWAP = "memory.swap: this kernel does not account swap (swapaccount=1 on its command line); leave the limit out"
_KERNEL = "the kernel has no limits of its own memory any more"
_V1_ONLY = "cgroup v2 has nothing like it"


def no_swap_needed(memory: dict[str, Any]) -> bool:
    """Whether the limit of memory and swap can be left out without swap accounting: it is none, or leaves no swap."""
    swap = memory.get("swap") or 0
    return swap < 0 or swap == (memory.get("limit") or 0)


def everywhere(resources: dict[str, Any], unbounded: bool) -> list[str]:
    """On both versions; `unbounded`: a limit of swap was given and cannot be set."""
    memory = resources.get("memory") or {}
    found = [_told(f"memory.{name}", _KERNEL) for name in ("kernel", "kernelTCP") if memory.get(name)]
    if memory.get("useHierarchy") is False:
        found.append(_told("memory.useHierarchy", "memory is always counted with that of the groups below"))
    if unbounded and (memory.get("swap") or 0) > 0:
        found.append(_told("memory.swap", "this kernel does not account swap"))
    return found


def pages(resources: dict[str, Any], limited: Callable[[str], bool]) -> list[str]:
    """Limits of huge pages on sizes that are not `limited` here; others than 0 are refused."""
    sizes = [one["pageSize"] for one in resources.get("hugepageLimits") or [] if not one["limit"]]
    return [_told(f"hugepageLimits.{size}", "no hugetlb controller has it") for size in sizes if not limited(size)]


def on_v2(resources: dict[str, Any]) -> list[str]:
    """What only v1 has."""
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    block, network = resources.get("blockIO") or {}, resources.get("network") or {}
    told = ["memory.swappiness"] if memory.get("swappiness") is not None else []
    told += ["memory.disableOOMKiller"] if memory.get("disableOOMKiller") else []
    told += [f"cpu.{name}" for name in ("realtimeRuntime", "realtimePeriod") if cpu.get(name)]
    told += [f"network.{name}" for name in ("classID", "priorities") if network.get(name)]
    told += ["blockIO.leafWeight"] if block.get("leafWeight") else []
    told += ["blockIO.weightDevice.leafWeight"] if any(one.get("leafWeight") for one in _devices(block)) else []
    return [_told(name, _V1_ONLY) for name in told]


def _devices(block: dict[str, Any]) -> list[dict[str, Any]]:
    return block.get("weightDevice") or []


def _told(name: str, why: str) -> str:
    return f"linux.resources.{name} is ignored: {why}"
