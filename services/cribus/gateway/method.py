"""What one gRPC method does, apart from gRPC: how a front tells the server about its methods."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, NamedTuple

from cribus.api.verb import A, Call, Message, Q, Verb

PATIENCE = 120.0  # seconds that a call without a deadline may take


class Unary(NamedTuple):
    """One request, one answer. `run(request, seconds)` may take so long; `seconds` is the client's
    deadline, or what `patience` says when it set none."""

    request: type[Message]
    answer: type[Message]
    run: Callable[[Any, float], Awaitable[Message]]
    patience: Callable[[Any], float] = lambda request: PATIENCE


class Streaming(NamedTuple):
    """One request, answers as they come."""

    request: type[Message]
    answer: type[Message]
    run: Callable[[Any, float], AsyncGenerator[Message, None]]


Methods = dict[str, Unary | Streaming]


def forward(call: Call, verb: Verb[Q, A], patience: Callable[[Q], float] | None = None) -> Unary:
    """A method that is a verb, word for word."""

    async def run(request: Q, seconds: float) -> A:
        return await call(verb, request, timeout=seconds)

    return (
        Unary(verb.request, verb.answer, run) if patience is None else Unary(verb.request, verb.answer, run, patience)
    )


PAGE = 200  # items in one message of a streamed list


def pages(call: Call, verb: Verb[Q, A], request: type[Message], answer: type[Message]) -> Streaming:
    """A streamed list: the answer of the list's verb, `PAGE` items a message.

    The request has the list request's fields; both answers have one field, the items.
    """
    (items,), (out,) = verb.answer.__struct_fields__, answer.__struct_fields__

    async def run(asked: Message, seconds: float) -> AsyncGenerator[Message, None]:
        same = {name: getattr(asked, name) for name in asked.__struct_fields__}
        whole = getattr(await call(verb, verb.request(**same), timeout=seconds), items)
        for at in range(0, len(whole), PAGE):
            yield answer(**{out: whole[at : at + PAGE]})

    return Streaming(request, answer, run)
