"""Processor use a second, from two samples of what was used in all."""

from typing import NamedTuple

_CLOSE = 250_000_000  # ns: a younger sample is no base for a rate, its rate still holds


class _Sample(NamedTuple):
    at: int
    used: int
    rate: int | None


class Rates:
    """The last sample of each container and pod. Times are ns since the epoch, use is ns of CPU."""

    def __init__(self) -> None:
        self._last: dict[str, _Sample] = {}

    def nano_cores(self, id: str, at: int, used: int) -> int | None:
        """Nanocores (CPU ns a second) since the sample before; None for the first one."""
        before = self._last.get(id)
        if before is None or used < before.used:
            self._last[id] = _Sample(at, used, None)
            return None
        if at - before.at < _CLOSE:
            return before.rate
        rate = (used - before.used) * 1_000_000_000 // (at - before.at)
        self._last[id] = _Sample(at, used, rate)
        return rate

    def forget_all_but(self, ids: set[str]) -> None:
        for id in self._last.keys() - ids:
            del self._last[id]
