"""Telling what a shim did (api/trace.py), off its way: the rules of `trace` over the slim client."""

import os

from cribus import steps
from cribus.api.trace import Batch, Span, is_news
from cribus.bus import codec, subjects
from cribus.bus.slim import Slim

_WAIT = 0.3  # seconds from the first span of a batch until it goes
_AGAIN = 2.0  # seconds until the next try while the bus is away
_MOST = 512  # spans that wait for the bus; one message holds them
_LONGEST = 600  # characters of a failure


class Trace:
    """`heard` takes what steps.py tells."""

    def __init__(self, slim: Slim) -> None:
        self._slim = slim
        self._spans: list[Span] = []
        self._lost = 0

    def heard(self, passage: steps.Passage) -> None:
        """A step is over."""
        span = Span(
            name=passage.name,
            began=passage.began,
            took=passage.took,
            id=passage.id,
            failure=passage.failure[:_LONGEST],
        )
        if not is_news(span):
            return
        if len(self._spans) >= _MOST:
            self._lost += 1
            return
        self._spans.append(span)
        if len(self._spans) == 1:
            self._slim.loop.later(_WAIT, self.flush)

    def flush(self) -> None:
        """Send what was collected."""
        if not self._spans:
            return
        batch = Batch(service=self._slim.place.service, pid=os.getpid(), spans=self._spans, lost=self._lost)
        subject = subjects.trace(self._slim.node, self._slim.place.service)
        if self._slim.publish(subject, codec.pack_message(batch)):
            self._spans, self._lost = [], 0
        else:
            self._slim.loop.later(_AGAIN, self.flush)
