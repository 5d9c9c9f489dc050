"""What a process sets on itself, read back from the kernel."""

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cribus.linux import libc, scheduling


def in_a_child(work: Callable[[], bool]) -> bool:
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_scheduler() -> None:
    def work() -> bool:
        scheduling.set_scheduler(scheduling.POLICIES["BATCH"], scheduling.FLAGS["RESET_ON_FORK"], (5, 0), (0, 0, 0))
        return (os.sched_getscheduler(0), os.nice(0)) == (os.SCHED_BATCH | os.SCHED_RESET_ON_FORK, 5)

    assert in_a_child(work)


def test_a_scheduler_that_cannot_be() -> None:
    with pytest.raises(OSError, match="sched_setattr") as caught:
        scheduling.set_scheduler(99, 0, (0, 0), (0, 0, 0))
    assert caught.value.errno == errno.EINVAL


def test_an_io_priority() -> None:
    def work() -> bool:
        scheduling.set_io_priority(scheduling.IO_CLASSES["BE"], 6)
        return libc.syscall(libc.SYS_IOPRIO_SET + 1, 1, 0) == 2 << 13 | 6  # ioprio_get

    assert in_a_child(work)


@pytest.mark.skipif(not Path("/proc/self/numa_maps").exists(), reason="this kernel knows no nodes of memory")
def test_a_memory_policy() -> None:
    def work() -> bool:
        scheduling.set_memory_policy(scheduling.MEMORY_MODES["BIND"], [0])
        held = ctypes.create_string_buffer(1 << 20)
        bound = "bind:0" in Path("/proc/self/numa_maps").read_text()
        scheduling.set_memory_policy(scheduling.MEMORY_MODES["DEFAULT"], [])
        return bound and len(held) == 1 << 20 and "bind:0" not in Path("/proc/self/numa_maps").read_text()

    assert in_a_child(work)


def test_a_node_that_is_not_there() -> None:
    with pytest.raises(OSError, match="set_mempolicy"):
        scheduling.set_memory_policy(scheduling.MEMORY_MODES["BIND"], [63])
