"""runtime-spec `process.scheduler`, `process.ioPriority`, `linux.memoryPolicy`, `linux.personality` and
`process.execCPUAffinity` → what child/process.py and child/exec.py set.
Source: runtime-spec config.md "Linux Process" and config-linux.md. Pure."""

from typing import Any

from cribus.errors import InvalidArgument, Unimplemented
from cribus.linux import scheduling

_TIMES = ("runtime", "deadline", "period")
_DOMAINS = {"LINUX": 0, "LINUX32": 8}  # include/uapi/linux/personality.h


def plan(process: dict[str, Any], linux: dict[str, Any]) -> dict[str, Any]:
    """Each as the arguments of its call, empty when it is not given. Raises InvalidArgument for unknown names."""
    return {
        "scheduler": _scheduler(process.get("scheduler") or {}),
        "io_priority": _io_priority(process.get("ioPriority") or {}),
        "memory_policy": _memory_policy(linux.get("memoryPolicy") or {}),
        "personality": _personality(linux.get("personality") or {}),
    }


def affinity(process: dict[str, Any]) -> list[list[int]]:
    """CPUs of a further process before and after it joins the container's cgroup, each empty when not given.
    Raises InvalidArgument."""
    given = process.get("execCPUAffinity") or {}
    return [_list(given.get(name) or "", f"process.execCPUAffinity.{name}", "CPUs") for name in ("initial", "final")]


def _personality(given: dict[str, Any]) -> int:
    """-1: it stays. Raises Unimplemented for flags, which the runtime-spec names none of."""
    if not given:
        return -1
    if given.get("flags"):
        raise Unimplemented("linux.personality.flags: there are none that can be set; leave them out")
    if given.get("domain") not in _DOMAINS:
        raise InvalidArgument(f"linux.personality.domain {given.get('domain')!r} is none of {', '.join(_DOMAINS)}")
    return _DOMAINS[given["domain"]]


def _scheduler(given: dict[str, Any]) -> list[Any]:
    if not given:
        return []
    _check_scheduler(given)
    policy = _number(scheduling.POLICIES, "SCHED_", given["policy"])
    flags = sum({_number(scheduling.FLAGS, "SCHED_FLAG_", one) for one in given.get("flags") or []})
    times = [given.get(name) or 0 for name in _TIMES]
    return [policy, flags, [given.get("nice") or 0, given.get("priority") or 0], times]


def _check_scheduler(given: dict[str, Any]) -> None:
    """What the kernel would leave out without a word. Raises InvalidArgument."""
    policy = given.get("policy") or ""
    if not policy:
        raise InvalidArgument("process.scheduler has no policy; name one, as SCHED_OTHER")
    if not -20 <= (given.get("nice") or 0) <= 19:
        raise InvalidArgument(f"process.scheduler.nice {given['nice']} is not from -20 to 19")
    if given.get("priority") and policy not in ("SCHED_FIFO", "SCHED_RR"):
        raise InvalidArgument(f"process.scheduler.priority is for SCHED_FIFO and SCHED_RR, not for {policy}")
    if policy != "SCHED_DEADLINE" and any(given.get(name) for name in _TIMES):
        raise InvalidArgument(f"process.scheduler: {', '.join(_TIMES)} are for SCHED_DEADLINE, not for {policy}")


def _io_priority(given: dict[str, Any]) -> list[int]:
    if not given:
        return []
    priority = given.get("priority") or 0
    if not 0 <= priority <= 7:
        raise InvalidArgument(f"process.ioPriority.priority {priority} is not from 0 to 7")
    return [_number(scheduling.IO_CLASSES, "IOPRIO_CLASS_", given.get("class") or ""), priority]


def _memory_policy(given: dict[str, Any]) -> list[Any]:
    if not given:
        return []
    mode = _number(scheduling.MEMORY_MODES, "MPOL_", given.get("mode") or "")
    flags = sum({_number(scheduling.MEMORY_FLAGS, "MPOL_F_", one) for one in given.get("flags") or []})
    return [mode | flags, _list(given.get("nodes") or "", "linux.memoryPolicy.nodes", "nodes")]


def _list(text: str, place: str, what: str) -> list[int]:
    """0-3,7 as the kernel writes lists."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()) or int(last or first) > 1023:
            raise InvalidArgument(f"{place} {text!r} is no list of {what} as 0-3,7")
        found += range(int(first), int(last or first) + 1)
    return found


def _number(known: dict[str, int], prefix: str, name: str) -> int:
    if name.removeprefix(prefix) not in known or not name.startswith(prefix):
        raise InvalidArgument(f"{name!r} is none of {', '.join(prefix + one for one in known)}")
    return known[name.removeprefix(prefix)]
