"""Telling a process that hangs from one that is slow, from outside.

Whoever watches a process looks about once a second. A look counts for a second at most: what the watcher
itself lost (it was stopped, the machine slept or was too busy) is not held against others. Without a sign
of life for `PATIENCE` a process hangs, unless the kernel says that it worked, or waited for a processor
(schedstat), or waits for a disk: then it gets more time. Before its first sign of life, and where there
are no such signs, it hangs only when the kernel says that it was stopped.

Belongs here: looking and judging. What is done about it is for whoever looks.
"""

import os
import signal
import time

from cribus.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

PATIENCE = 3.0  # seconds without a sign of life
ON_DISK = 10.0  # … of one that waits in the kernel and cannot be interrupted
AT_WORK = 30.0  # … of one that uses processors, or waits for one
LOOK = 1.5  # seconds between two looks at a process that gives no signs of life
_DOUBT = 1.2  # seconds of silence after which the kernel is asked
_LONGEST = 1.0  # seconds that one look may count
_WORKING = 0.02  # share of the time
_STOPPED = ("T", "t")  # by a signal, by a tracer (proc_pid_stat(5))


class Watch:
    """One process, watched by its signs of life."""

    __slots__ = ("_beat", "_looked", "_silent", "_used", "pid")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._beat = 0
        self._silent = 0.0  # seconds
        self._looked = time.monotonic()
        self._used = (0.0, 0.0)  # silence, and processor time, when the kernel was first asked

    def look(self, beat: int) -> str:
        """How it hangs, "" when it does not. `beat` is its last sign of life, 0 for none so far."""
        now = time.monotonic()
        counted = min(now - self._looked, _LONGEST)
        self._looked = now
        if beat != self._beat:
            self._beat, self._silent, self._used = beat, 0.0, (0.0, 0.0)
            return ""
        self._silent += counted
        if self._silent < _DOUBT:
            return ""
        state, used = process.work(self.pid)
        if not self._used[0]:
            self._used = (self._silent, used)
        return self._judged(state, used)

    def _judged(self, state: str, used: float) -> str:
        if self._silent < PATIENCE or not state:
            return ""
        silent = f"no sign of life for {self._silent:.0f} s"
        if state in _STOPPED:
            return f"{silent}: stopped by a signal"
        if not self._beat or self._silent < self._limit(state, used):
            return ""
        return f"{silent}: {_where(self.pid, state)}"

    def _limit(self, state: str, used: float) -> float:
        if used - self._used[1] > _WORKING * max(self._silent - self._used[0], _LONGEST):
            return AT_WORK
        return ON_DISK if state == "D" else PATIENCE


def _where(pid: int, state: str) -> str:
    try:
        with open(f"/proc/{pid}/wchan") as file:
            place = file.read().strip("0")
    except OSError:
        place = ""
    return f"state {state}" + (f", in {place}" if place else "")


def stopped(pid: int) -> bool:
    """Whether the kernel says that it was stopped, by a signal or a tracer."""
    return process.state(pid) in _STOPPED


class Overseen:
    """`with Overseen(pid, kill):` somebody waits for an answer of this process, which has an end and gives no signs
    of life meanwhile: when it is found stopped twice in a row `kill` is called, and whoever waits learns of its
    death as always. For a running loop of asyncio."""

    __slots__ = ("_kill", "_pid", "_suspected", "_timer")

    def __init__(self, pid: int, kill: "Callable[[], None]") -> None:
        self._pid = pid
        self._kill = kill
        self._suspected = False
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._later()

    def _later(self) -> None:
        import asyncio

        self._timer = asyncio.get_running_loop().call_later(LOOK, self._look)

    def _look(self) -> None:
        before, self._suspected = self._suspected, stopped(self._pid)
        if before and self._suspected:
            self._kill()
        else:
            self._later()

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()


def kill(pidfd: int) -> None:
    """SIGKILL, which ends a stopped process too. Idempotent."""
    try:
        process.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return


def kill_pid(pid: int) -> None:
    """The same, for a pid that cannot be another's: of a child that nobody has reaped."""
    try:
        pidfd = process.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        kill(pidfd)
    finally:
        os.close(pidfd)
