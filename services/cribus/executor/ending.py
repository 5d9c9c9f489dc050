"""Bringing processes to their end, and waiting for it with a deadline."""

import asyncio
import contextlib
import os

from cribus.errors import DeadlineExceeded, InvalidArgument
from cribus.executor import waiting
from cribus.executor.node import Node
from cribus.linux import process

DEADLINE = 20.0  # seconds that a killed process may need to leave the kernel
_ROUNDS = 50


async def empty_cgroup(node: Node, cgroup: str) -> None:
    """Kill until nobody is left in the cgroup. Raises DeadlineExceeded when one does not die."""
    until = asyncio.get_running_loop().time() + DEADLINE
    for _ in range(_ROUNDS):  # each round waits for the deaths of all that the one before has killed
        pids = node.tree.pids(cgroup)
        if not pids:
            return
        node.tree.kill(cgroup)
        for pid in pids:
            left = until - asyncio.get_running_loop().time()
            if not await died(pid, left):
                raise DeadlineExceeded(
                    f"process {pid} was killed but does not end; it hangs in the kernel, see /proc/{pid}/stack"
                )
    raise DeadlineExceeded(f"cgroup {cgroup} is never empty; something outside keeps moving processes into it")


async def died(pid: int, seconds: float) -> bool:
    """Whether the process is gone within so long."""
    try:
        pidfd = process.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return await waiting.readable(pidfd, max(0.0, seconds))
    finally:
        os.close(pidfd)


async def kill(pid: int, started: int, seconds: float = DEADLINE) -> bool:
    """SIGKILL to that very process; whether it is gone within so long."""
    try:
        pidfd = process.pidfd_open(pid) if pid else -1
    except ProcessLookupError:
        return True
    if pidfd < 0:
        return True
    try:
        if process.start_time(pid) != started:
            return True
        with contextlib.suppress(ProcessLookupError):
            process.pidfd_send_signal(pidfd, 9)
        return await waiting.readable(pidfd, seconds)
    finally:
        os.close(pidfd)


def signal(pid: int, started: int, number: int) -> None:
    """Send it to that very process; one that has ended is no error. Raises InvalidArgument."""
    try:
        pidfd = process.pidfd_open(pid) if pid else -1
    except ProcessLookupError:
        return
    if pidfd < 0:
        return
    try:
        if process.start_time(pid) == started:
            with contextlib.suppress(ProcessLookupError):
                process.pidfd_send_signal(pidfd, number)
    except OSError as error:
        raise InvalidArgument(f"signal {number} cannot be sent: {error.strerror}") from error
    finally:
        os.close(pidfd)
