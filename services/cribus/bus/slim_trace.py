"""Telling what a shim did (api/trace.py), off its way: the rules of `trace` over the slim client."""

import os

from cribus import steps
from cribus.api.trace import Batch, Span
from cribus.bus import codec, subjects
from cribus.bus.collected import LONGEST, Collected
from cribus.bus.slim import Slim

_WAIT = 0.3  # seconds from the first span of a batch until it goes
_AGAIN = 2.0  # seconds until the next try while the bus is away
_MOST = 512  # spans that wait for the bus; one message holds them


class Trace:
    """`heard` takes what steps.py tells."""

    def __init__(self, slim: Slim) -> None:
        self._slim = slim
        self._waiting = Collected(_MOST)

    def heard(self, passage: steps.Passage) -> None:
        """A step is over."""
        span = Span(
            name=passage.name,
            began=passage.began,
            took=passage.took,
            id=passage.id,
            failure=passage.failure[:LONGEST],
        )
        if self._waiting.add(span) and len(self._waiting.spans) == 1:
            self._slim.loop.later(_WAIT, self.flush)

    def flush(self) -> None:
        """Send what was collected."""
        waiting = self._waiting
        if not waiting.spans:
            return
        batch = Batch(service=self._slim.place.service, pid=os.getpid(), spans=waiting.spans, lost=waiting.lost)
        subject = subjects.trace(self._slim.node, self._slim.place.service)
        if self._slim.publish(subject, codec.pack_message(batch)):
            self._waiting = Collected(_MOST)
        else:
            self._slim.loop.later(_AGAIN, self.flush)
