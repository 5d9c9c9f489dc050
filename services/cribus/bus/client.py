"""Asking. A call is sent again under the same request id until it is answered, so a service that is
killed and restarted, or a bus that was away, costs time and has no second effect."""

import asyncio
import contextlib
import contextvars
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

from nats.aio.msg import Msg

from cribus import log, pulse
from cribus.api.verb import A, Empty, Q, Verb
from cribus.bus import codec, subjects
from cribus.bus.connection import PATIENCE, RETRY, Connection, nobody, pause
from cribus.errors import CribusError, DeadlineExceeded, Unavailable

RESEND = 0.5  # seconds without an answer after which a request is sent again
ADDRESSED_PATIENCE = 1.0  # seconds: one process of many may be gone for good


class _Waiting:
    """One call in flight: its answer, or the news that nobody serves the verb."""

    __slots__ = ("_answer", "_changed", "_verb", "nobody", "whole")

    def __init__(self, verb: Verb[Any, Any]) -> None:
        self._verb = verb
        self._answer = codec.Answer()
        self._changed = asyncio.Event()
        self.whole: dict[str, Any] | None = None
        self.nobody = False

    def feed(self, msg: Msg) -> None:
        if nobody(msg):
            self.nobody = True
        else:
            whole = self._answer.feed(msg.data)
            if whole is not None and codec.counts(self._verb, whole):
                self.whole = whole
        if self.nobody or self.whole is not None:
            self._changed.set()

    async def wait(self, seconds: float) -> None:
        """Until something changed, at most so long."""
        self._changed.clear()
        if self.whole is None:
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            except TimeoutError:
                return


async def call(connection: Connection, verb: Verb[Q, A], request: Q, target: tuple[str, float]) -> A:
    """The answer of whoever serves `verb`; `target` is (id or "", timeout in seconds).

    Raises the peer's own CribusError, Unavailable when nobody serves the verb (nothing ran), or
    DeadlineExceeded when it is unknown whether it happened.
    """
    id, timeout = target
    until, deadline = codec.within(timeout)
    program, generation = pulse.mark()
    meta = codec.Meta(
        id=uuid.uuid4().hex,
        trace=log.current("trace") or uuid.uuid4().hex[:16],
        sender=connection.sender,
        until=until,
        deadline=deadline,
        program=program,
        generation=generation,
    )
    waiting = _Waiting(verb)
    connection.answers[meta.id] = waiting.feed
    try:
        async with asyncio.timeout(timeout):
            answer = await _asked(connection, _Question(verb, id, meta, request), waiting)
    except TimeoutError as error:
        await _leave(connection, subjects.verb(connection.node, verb, id), meta)
        raise DeadlineExceeded(
            f"{verb.service}.{verb.name} gave no answer within {timeout:g} s; it may still happen"
        ) from error
    except (CribusError, asyncio.CancelledError):
        await _leave(connection, subjects.verb(connection.node, verb, id), meta)
        raise
    finally:
        del connection.answers[meta.id]
    passed_on = _passed_on.get()
    if passed_on is not None:
        passed_on.append(lambda: _leave(connection, subjects.verb(connection.node, verb, id), meta))
    return codec.result(verb.answer, answer)


async def _leave(connection: Connection, subject: str, meta: codec.Meta) -> None:
    """The caller goes away: the server is told, and can ask, should it not hear of it now."""
    connection.gave_up(meta.id)
    meta.n = 0
    await connection.send(subject, codec.pack_request(meta, Empty()))


Leave = Callable[[], Awaitable[None]]
_passed_on: contextvars.ContextVar[list[Leave] | None] = contextvars.ContextVar("passed_on", default=None)


@contextlib.contextmanager
def passing_on() -> Iterator[list[Leave]]:
    """While inside, answers are for somebody else: of each there is a way to say afterwards that it did not
    reach him."""
    leaves: list[Leave] = []
    before = _passed_on.set(leaves)
    try:
        yield leaves
    finally:
        _passed_on.reset(before)


class _Question(NamedTuple):
    verb: Verb[Any, Any]
    id: str
    meta: codec.Meta
    request: Any


async def _asked(connection: Connection, what: _Question, waiting: _Waiting) -> dict[str, Any]:
    """Send until there is an answer. `n` counts sendings that may have been received."""
    meta = what.meta
    subject = subjects.verb(connection.node, what.verb, what.id)
    patience = ADDRESSED_PATIENCE if what.verb.addressed else PATIENCE
    give_up = time.monotonic() + (0.0 if what.verb.prompt else patience)
    while True:
        sent = await connection.send(subject, codec.pack_request(meta, what.request), connection.reply_to(meta.id))
        if sent:
            waiting.nobody = False
            await waiting.wait(RESEND)
        if waiting.whole is not None:
            return waiting.whole
        if sent and not waiting.nobody:
            meta.n += 1
            give_up = time.monotonic() + patience
        elif time.monotonic() >= give_up:
            raise _unavailable(what, connected=sent)
        else:
            await pause(RETRY)


def _unavailable(what: _Question, *, connected: bool) -> CribusError:
    service, verb = what.verb.service, what.verb.name
    if not connected:
        return Unavailable("the bus is away; `cribus status` shows whether nats runs")
    if what.meta.n > 1:
        return DeadlineExceeded(f"{service} went away while it ran {verb}; it may or may not have happened")
    return Unavailable(f"nobody serves {service}.{verb}; `cribus status` shows whether {service} runs")
