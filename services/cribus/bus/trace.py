"""Telling what happened inside operations (api/trace.py), off their path.

What a process does is collected in a list; a moment later the list goes out as one message, which
nobody answers. While the bus is away it waits, up to a number.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, PersistMode, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from cribus import log, steps
from cribus.api.trace import Batch, Going, Span, is_question
from cribus.api.verb import Empty
from cribus.bus import subjects
from cribus.bus.codec import pack_message
from cribus.bus.collected import LONGEST, Collected
from cribus.bus.connection import Connection
from cribus.errors import CribusError

KEEP = 7 * 24 * 3600  # seconds of history
KEEP_BYTES = 64 << 20
_WAIT = 0.3  # seconds from the first span of a batch until it goes
_AGAIN = 2.0  # seconds until the next try while the bus is away
_BATCH = 256  # spans in one message
_MOST = 4096  # spans that wait for the bus


class Told(Protocol):
    """Of a request being served: its name, for which pod or container, and what is told of it."""

    name: str
    id: str
    told: dict[str, str]


Asking = Callable[[str], AbstractContextManager[Told]]


class Asked:
    """A request being served, with what is told of it."""

    __slots__ = ("began", "failure", "id", "name", "told", "trace")

    def __init__(self, name: str) -> None:
        self.name = name
        self.began = time.time_ns()
        self.id = ""
        self.trace = log.current("trace")
        self.failure = ""
        self.told: dict[str, str] = {}

    def span(self, took: int = 0) -> Span:
        return Span(
            name=self.name,
            began=self.began,
            took=took,
            id=self.id,
            trace=self.trace,
            failure=self.failure[:LONGEST],
            told=self.told,
        )


class Trace:
    """What one process does and did."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._waiting = Collected(_MOST)
        self._armed = False
        self._asked: set[Asked] = set()
        self._sending: asyncio.Task[None] | None = None

    async def ensure(self) -> None:
        """Make the stream if it is not there. Raises Unavailable while the bus is away.

        It is written behind: after a power cut the last seconds of it may be missing.
        """
        node = self._connection.node

        async def attempt() -> None:
            js: JetStreamContext = self._connection.nats.jetstream(timeout=2)
            try:
                await js.stream_info(subjects.trace_stream(node))
            except NotFoundError:
                config = StreamConfig(
                    name=subjects.trace_stream(node),
                    subjects=[subjects.trace(node, "*")],
                    storage=StorageType.FILE,
                    max_age=KEEP,
                    max_bytes=KEEP_BYTES,
                    discard=DiscardPolicy.OLD,
                    persist_mode=PersistMode.ASYNC,
                )
                await js.add_stream(config)

        await self._connection.while_up(attempt)

    @contextlib.contextmanager
    def asked(self, name: str) -> Iterator[Asked]:
        """While inside, a request is being served. Failures pass through."""
        one = Asked(name)
        self._asked.add(one)
        try:
            yield one
        except BaseException as error:
            one.failure = one.failure or explained(error)
            raise
        finally:
            self._asked.discard(one)
            self._take(one.span(time.time_ns() - one.began))

    def heard(self, passage: steps.Passage) -> None:
        """A step is over (steps.py); from any thread."""
        self._take(
            Span(
                name=passage.name,
                began=passage.began,
                took=passage.took,
                id=passage.id,
                trace=log.current("trace"),
                failure=passage.failure[:LONGEST],
            )
        )

    async def going(self, _: Empty) -> Going:
        """What is being done now; by the time of the answer, what was done before has been told."""
        await self.flush()
        passages = sorted(steps.going.copy(), key=lambda one: one.began)
        spans = [Span(name=one.name, began=one.began, id=one.id) for one in passages]
        threads = [one.thread for one in passages]
        asked = [one.span() for one in self._asked if not is_question(one.name.rpartition(".")[2])]
        asked.sort(key=lambda one: one.began)
        return Going(pid=os.getpid(), spans=spans + asked, threads=threads + [0] * len(asked))

    def _take(self, span: Span) -> None:
        if self._waiting.add(span) and not self._armed:
            self._armed = True
            with contextlib.suppress(RuntimeError):  # the loop was closed while a thread hung
                self._loop.call_soon_threadsafe(self._loop.call_later, _WAIT, self._send)

    def _send(self) -> None:
        self._sending = self._loop.create_task(self.flush())

    async def flush(self) -> None:
        """Send what was collected, now."""
        self._armed = False
        subject = subjects.trace(self._connection.node, self._connection.service)
        waiting = self._waiting
        while waiting.spans:
            batch = waiting.spans[:_BATCH]
            del waiting.spans[: len(batch)]
            message = Batch(service=self._connection.service, pid=os.getpid(), spans=batch, lost=waiting.lost)
            if not await self._connection.send(subject, pack_message(message)):
                waiting.spans[:0] = batch
                self._armed = True
                self._loop.call_later(_AGAIN, self._send)
                return
            waiting.lost = 0


def explained(error: Any) -> str:
    """A failure in one line, with its code where it has one."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{error.code}: {error.message}" if isinstance(error, CribusError) else f"{type(error).__name__}: {error}"
