"""How long it takes until the API is whole again after a kill: two seconds, where nobody had to wait for the
machine.

On a machine that others use, waiting for a CPU or the disk says nothing about cribus. The kernel knows for
how long anybody waited (/proc/pressure), and that is taken off; whatever cribus waits for by itself, a
timeout, a pause, a process that nobody starts, stays and counts. However busy it is, MOST is the end.
"""

import math
import time
from pathlib import Path
from typing import NamedTuple

WHOLE = 2.0  # seconds
MOST = 20.0
_PRESSURE = [Path(f"/proc/pressure/{one}") for one in ("cpu", "io")]


class Took(NamedTuple):
    """Seconds from a kill to the last call that works: all of them, and those without waits for the machine."""

    seconds: float
    own: float


class Kill:
    """The moment of one, and of whom; `unseen`: the seconds that pass before it can be noticed."""

    def __init__(self, whom: str, unseen: float = 0.0) -> None:
        self._whom = whom
        self._unseen = unseen
        self.at = time.monotonic()
        self._waited = _waited()

    def over(self) -> Took:
        """All kinds of calls work again: how long that took. Fails where it was too long."""
        seconds = time.monotonic() - self.at
        took = Took(seconds, max(0.0, seconds - (_waited() - self._waited)))
        print(f"whole again after {took.seconds:.2f} s, {took.own:.2f} s of them without waiting for the machine")
        known.setdefault(self._whom, []).append(took)
        assert took.own < self._unseen + WHOLE, took
        assert took.seconds < self._unseen + MOST, took
        return took


def _waited() -> float:
    """Seconds in which anything on this machine waited for it; on a kernel that does not say, time itself."""
    try:
        texts = [one.read_text() for one in _PRESSURE]
    except OSError:
        return time.monotonic()
    return sum(int(text.split("total=", 1)[1].split()[0]) for text in texts) / 1e6


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
