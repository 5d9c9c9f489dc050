"""Processor use a second, from two samples of what was used in all."""

from typing import NamedTuple

_CLOSE = 250_000_000  # ns: a younger sample is no base for a rate, its rate still holds


class _Sample(NamedTuple):
    at: int
    used: int
    rate: int


class Rates:
    """The last sample of each container and pod. Times are ns since the epoch, use is ns of CPU."""

    def __init__(self) -> None:
        self._last: dict[str, _Sample] = {}

    def nano_cores(self, id: str, at: int, used: int, born: int) -> int:
        """Nanocores (CPU ns a second) since the sample before; the first time since it was born."""
        before = self._last.get(id)
        if before is None or used < before.used:
            before = _Sample(born, 0, 0)
        elif at - before.at < _CLOSE:
            if at < before.at:  # the clock was set back
                self._last[id] = _Sample(at, used, before.rate)
            return before.rate
        rate = (used - before.used) * 1_000_000_000 // max(1, at - before.at)
        self._last[id] = _Sample(at, used, rate)
        return rate

    def forget_all_but(self, ids: set[str]) -> None:
        for id in self._last.keys() - ids:
            del self._last[id]
