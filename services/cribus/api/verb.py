"""What a message and a verb are. Belongs here: nothing that knows how either travels."""

from typing import Generic, Protocol, TypeVar

import msgspec

Q = TypeVar("Q", bound="Message")
A = TypeVar("A", bound="Message")


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Data on the bus. Unknown fields are ignored and missing ones take their defaults, so that
    versions N and N+1 understand each other."""


class Empty(Message, frozen=True):
    """A request or an answer that carries nothing."""


class Verb(Generic[Q, A]):
    """One thing a service can be asked: the only place where its name is written."""

    __slots__ = ("answer", "name", "request", "service")
    addressed = False  # an id in the subject says which of the service's processes answers
    prompt = False  # when nobody serves it that is no restart to be waited for: the caller can find out why
    repeatable = True  # asking again for what a dead server may have begun does no harm

    def __init__(self, service: str, name: str, request: type[Q], answer: type[A]) -> None:
        self.service = service
        self.name = name
        self.request = request
        self.answer = answer


class Addressed(Verb[Q, A]):
    """A verb for one process of many."""

    __slots__ = ()
    addressed = True


class Once(Verb[Q, A]):
    """A verb that must not run twice for one request id, not even after its server died half-way:
    the caller is told ABORTED then."""

    __slots__ = ()
    repeatable = False


class Prompt(Addressed[Q, A]):
    """A verb for one process of many whose caller is told at once that nobody is there, and finds out why."""

    __slots__ = ()
    prompt = True


class Call(Protocol):
    """How domain code asks another service. `id` addresses one process of it; `timeout` in seconds.

    Raises CribusError: the peer's own error, Unavailable when nobody serves the verb, or
    DeadlineExceeded when it is unknown whether it happened.
    """

    async def __call__(self, verb: Verb[Q, A], request: Q, /, *, id: str = "", timeout: float = 30.0) -> A: ...
