"""Spans that wait for the bus: what is news, up to a number."""

from cribus.api.trace import Span, is_news

LONGEST = 600  # characters of a failure


class Collected:
    """`lost` counts those for which there was no room since the last time that some were sent."""

    __slots__ = ("lost", "most", "spans")

    def __init__(self, most: int) -> None:
        self.most = most
        self.spans: list[Span] = []
        self.lost = 0

    def add(self, span: Span) -> bool:
        """Whether it waits now."""
        if not is_news(span):
            return False
        if len(self.spans) >= self.most:
            self.lost += 1
            return False
        self.spans.append(span)
        return True
