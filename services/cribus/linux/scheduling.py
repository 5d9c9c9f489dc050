"""How the kernel favours a process: its CPU scheduler, its block I/O, its memory's nodes. Each sets it for the
calling process, whose children inherit it."""

import struct

from cribus.linux import libc

# include/uapi/linux/sched.h, sched/types.h
POLICIES = {"OTHER": 0, "FIFO": 1, "RR": 2, "BATCH": 3, "ISO": 4, "IDLE": 5, "DEADLINE": 6}
FLAGS = {
    "RESET_ON_FORK": 1,
    "RECLAIM": 2,
    "DL_OVERRUN": 4,
    "KEEP_POLICY": 8,
    "KEEP_PARAMS": 16,
    "UTIL_CLAMP_MIN": 32,
    "UTIL_CLAMP_MAX": 64,
}
_ATTR = struct.Struct("=IIQiIQQQ")
# include/uapi/linux/ioprio.h
IO_CLASSES = {"RT": 1, "BE": 2, "IDLE": 3}
_IO_CLASS_SHIFT, _IO_PROCESS = 13, 1
# include/uapi/linux/mempolicy.h
MEMORY_MODES = {
    "DEFAULT": 0,
    "PREFERRED": 1,
    "BIND": 2,
    "INTERLEAVE": 3,
    "LOCAL": 4,
    "PREFERRED_MANY": 5,
    "WEIGHTED_INTERLEAVE": 6,
}
MEMORY_FLAGS = {"STATIC_NODES": 1 << 15, "RELATIVE_NODES": 1 << 14, "NUMA_BALANCING": 1 << 13}


def set_scheduler(policy: int, flags: int, nice_priority: "tuple[int, int]", times: "tuple[int, int, int]") -> None:
    """sched_setattr(2); times in ns: runtime, deadline, period of SCHED_DEADLINE. Raises OSError."""
    attributes = _ATTR.pack(_ATTR.size, policy, flags, *nice_priority, *times)
    libc.call("sched_setattr", libc.SYS_SCHED_SETATTR, 0, attributes, 0)


def set_io_priority(kind: int, priority: int) -> None:
    """ioprio_set(2). Raises OSError."""
    libc.call("ioprio_set", libc.SYS_IOPRIO_SET, _IO_PROCESS, 0, kind << _IO_CLASS_SHIFT | priority)


def set_memory_policy(mode: int, nodes: "list[int]") -> None:
    """set_mempolicy(2); `mode` with its flags. Raises OSError."""
    mask = sum(1 << node for node in set(nodes))
    words = max(nodes, default=0) // 64 + 1
    given = mask.to_bytes(words * 8, "little") if nodes else None
    libc.call("set_mempolicy", libc.SYS_SET_MEMPOLICY, mode, given, words * 64 + 1 if nodes else 0)
