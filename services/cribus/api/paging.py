"""A list in pages, for whoever must not hold all of it: the same items in the same order as the plain list."""

from typing import Generic

from cribus.api.verb import A, Message, Q


class Page(Message, Generic[Q], frozen=True):
    """At most `most` items of the list that `asked` asks for, those behind the place `after`."""

    asked: Q
    after: str = ""  # `next` of the page before; empty: from the beginning
    most: int = 100


class Paged(Message, Generic[A], frozen=True):
    """What was made meanwhile is not in it, what was removed is not either; nothing comes twice."""

    part: A
    next: str = ""  # empty: that was all
