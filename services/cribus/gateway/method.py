"""What one gRPC method does, apart from gRPC: how a front tells the server about its methods."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from cribus.api.paging import Page, Paged
from cribus.api.verb import A, Call, Message, Q, Verb

PATIENCE = 120.0  # seconds that a call without a deadline may take


class Unary(NamedTuple):
    """One request, one answer. `run(request, seconds)` may take so long; `seconds` is the client's
    deadline, or what `patience` says when it set none."""

    request: type[Message]
    answer: type[Message]
    run: Callable[[Any, float], Awaitable[Message]]
    patience: Callable[[Any], float] = lambda request: PATIENCE


class Caller(NamedTuple):
    """What a stream's client said beside its request: how long (s) a page may take, and its metadata."""

    seconds: float
    metadata: Mapping[str, str] = {}


class Answers(NamedTuple):
    """Answers as they come. `metadata` is told at once, when nothing can be missed any more."""

    items: AsyncGenerator[Message, None]
    metadata: tuple[tuple[str, str], ...] = ()


class Streaming(NamedTuple):
    """One request, many answers."""

    request: type[Message]
    answer: type[Message]
    run: Callable[[Any, Caller], Awaitable[Answers]]


Methods = dict[str, Unary | Streaming]


def forward(call: Call, verb: Verb[Q, A], patience: Callable[[Q], float] | None = None) -> Unary:
    """A method that is a verb, word for word."""

    async def run(request: Q, seconds: float) -> A:
        return await call(verb, request, timeout=seconds)

    return (
        Unary(verb.request, verb.answer, run) if patience is None else Unary(verb.request, verb.answer, run, patience)
    )


class Wire(NamedTuple):
    """A streamed list's own request and answer, which have the fields of the plain list's, `asked`."""

    asked: type[Message]
    request: type[Message]
    answer: type[Message]


def pages(call: Call, verb: Verb[Page[Any], Paged[Any]], wire: Wire, most: int = 100) -> Streaming:
    """A streamed list, at most `most` items a message: a page is asked for when the client has taken the
    one before."""
    (field,) = wire.answer.__struct_fields__

    async def run(asked: Message, caller: Caller) -> Answers:
        plain = wire.asked(**{name: getattr(asked, name) for name in asked.__struct_fields__})
        return Answers(_pages(plain, caller.seconds))

    async def _pages(plain: Message, seconds: float) -> AsyncGenerator[Message, None]:
        request = Page(asked=plain, most=most)
        while True:
            page = await call(verb, request, timeout=seconds)
            (items,) = (getattr(page.part, name) for name in page.part.__struct_fields__)
            if items:
                yield wire.answer(**{field: items})
            if not page.next:
                return
            request = Page(asked=plain, after=page.next, most=most)

    return Streaming(wire.request, wire.answer, run)
