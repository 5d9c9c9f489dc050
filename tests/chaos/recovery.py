"""How long it takes until the API is whole again after a kill: two seconds, where cribus did not have to wait
for the machine.

On a machine that others use, waiting for a CPU or the disk says nothing about cribus. The kernel knows how
long each thread of the node waited for a CPU (schedstat), and for how long anybody waited for the disk
(/proc/pressure/io), and that is taken off; whatever cribus waits for by itself, a timeout, a pause, a process
that nobody starts, stays and counts. However busy it is, MOST is the end.
"""

import math
import os
import time
from pathlib import Path
from typing import NamedTuple

from tests.harness import Node

WHOLE = 2.0  # seconds
MOST = 30.0
_DISK = Path("/proc/pressure/io")


class Took(NamedTuple):
    """Seconds from a kill to the last call that works: all of them, and those without waits for the machine."""

    seconds: float
    own: float


class Kill:
    """The moment of one, and of whom; `unseen`: the seconds that pass before it can be noticed."""

    def __init__(self, node: Node, whom: str, unseen: float = 0.0) -> None:
        self._mark = f"CRIBUS_CONFIG={node.config}".encode()
        self._whom = whom
        self._unseen = unseen
        self._before = _waits(self._mark)
        self.at = time.monotonic()

    def over(self) -> None:
        """All kinds of calls work again. Fails where that took too long."""
        seconds = time.monotonic() - self.at
        waited = sum(after - self._before.get(whose, 0.0) for whose, after in _waits(self._mark).items())
        took = Took(seconds, max(0.0, seconds - waited))
        print(f"whole again after {took.seconds:.2f} s, {took.own:.2f} s of them without waiting for the machine")
        known.setdefault(self._whom, []).append(took)
        assert took.own < self._unseen + WHOLE, took
        assert took.seconds < self._unseen + MOST, took


def _waits(mark: bytes) -> dict[str, float]:
    """For how many seconds each thread of a node and of this process has waited for a CPU, and anybody for
    the disk. Of what has ended meanwhile nothing is known any more."""
    found = {"disk": int(_DISK.read_text().split("total=", 1)[1].split()[0]) / 1e6} if _DISK.exists() else {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int(process.name) == os.getpid() or mark in (process / "environ").read_bytes().split(b"\0"):
                for thread in (process / "task").iterdir():
                    found[f"{process.name}/{thread.name}"] = int((thread / "schedstat").read_text().split()[1]) / 1e9
        except OSError:  # it has just ended
            continue
    return found


known: dict[str, list[Took]] = {}  # by whom was killed


def figures() -> list[str]:
    """Of all kills until now, and of each kind."""
    if not known:
        return []
    everybody = {f"all {sum(map(len, known.values()))}": [one for some in known.values() for one in some]}
    lines = [f"{name}: {_line(some)}" for name, some in (everybody | dict(sorted(known.items()))).items()]
    return ["whole again after a kill, in s (without waiting for the machine):", *lines]


def _line(some: list[Took]) -> str:
    whole, own = (sorted(times) for times in zip(*some, strict=True))
    shares = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    return ", ".join(f"{name} {_share(whole, share):.2f} ({_share(own, share):.2f})" for name, share in shares)


def _share(times: list[float], share: float) -> float:
    return times[max(0, math.ceil(share * len(times)) - 1)]
