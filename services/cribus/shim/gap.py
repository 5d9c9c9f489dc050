"""What a log does not take: its disk is full, broken or read-only. The container goes on, its output is lost,
and that is told: when it begins, and how much it was as soon as the log takes something again."""

import os
import time
from collections.abc import Callable

from cribus.api import events
from cribus.api.events import Event
from cribus.shim.crilog import LogFile
from cribus.shim.note import note
from cribus.shim.pump import Pump

Say = Callable[[Event], None]


class Gap:
    """A container's output that is missing in its log; `lost` bytes since it began, 0 where nothing is."""

    def __init__(self, container: str, pod: str, say: Say) -> None:
        self._container = container
        self._pod = pod
        self._say = say
        self._seen: dict[Pump, int] = {}
        self.lost = 0

    def after(self, one: Pump, log: LogFile | None) -> None:
        """The pump has just written, or tried to."""
        more = one.lost - self._seen.get(one, 0)
        self._seen[one] = one.lost
        if log is None:
            return
        begins = more > 0 and not self.lost
        self.lost += more
        if begins:
            self._tell(log.refused)
        elif self.lost and not log.refused:
            self.over()

    def over(self) -> None:
        """The log takes output again, or none will come: tell how much it was. Idempotent."""
        if self.lost:
            self._tell(0)
            self.lost = 0

    def _tell(self, refused: int) -> None:
        cause = os.strerror(refused) if refused else ""
        said = "the log's disk takes no more" if cause else "what a log's disk did not take is lost"
        note(said, container=self._container, lost_bytes=self.lost, cause=cause)
        detail = {"lost_bytes": str(self.lost), "cause": cause}
        self._say(
            Event(kind=events.LOG_LOST, id=self._container, pod=self._pod, at=time.time_ns(), detail=detail),
        )
