"""News: a JetStream stream a node, with sequence numbers and replay.

Publishing never waits for the bus: events queue here in order and go out as soon as it takes them.
The message id lets the stream drop the repeat of an event whose acknowledgement was lost.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import NamedTuple

from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from cribus.api.events import Event
from cribus.bus import codec, subjects
from cribus.bus.connection import Connection
from cribus.errors import CribusError, Unavailable
from cribus.steps import Step

KEEP = 7 * 24 * 3600  # seconds of history
KEEP_BYTES = 256 << 20
_DUPLICATES = 600.0  # seconds in which a repeated message id is dropped
_POLL = 30.0  # seconds that one fetch waits; it ends at once when there is news
_logger = logging.getLogger(__name__)
_ACKNOWLEDGED = Step("bus.event.acknowledged")


class Seen(NamedTuple):
    """An event with its place in the stream."""

    sequence: int
    event: Event


def message_id(event: Event) -> str:
    return f"{event.kind}.{event.id}.{event.at}"


class Events:
    """Publishing and reading the node's events."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stream = subjects.event_stream(connection.node)
        self._spool: asyncio.Queue[Event] = asyncio.Queue()

    @property
    def _js(self) -> JetStreamContext:
        return self._connection.nats.jetstream(timeout=2)

    async def ensure(self) -> None:
        """Make the stream if it is not there. Raises Unavailable while the bus is away."""

        async def attempt() -> None:
            try:
                await self._js.stream_info(self._stream)
            except NotFoundError:
                config = StreamConfig(
                    name=self._stream,
                    subjects=[subjects.event_filter(self._connection.node)],
                    storage=StorageType.FILE,
                    max_age=KEEP,
                    max_bytes=KEEP_BYTES,
                    duplicate_window=_DUPLICATES,
                    allow_direct=True,
                )
                await self._js.add_stream(config)

        await self._connection.while_up(attempt)

    async def publish(self, event: Event) -> None:
        """Queue an event; `pump` sends it."""
        self._spool.put_nowait(event)

    async def forward(self, news: asyncio.Queue[Event]) -> None:
        """Publish what came and comes, from before there was a bus on. Runs as a task."""
        while True:
            await self.publish(await news.get())

    async def pump(self) -> None:
        """Send queued events, in order, each until the stream has it. Runs as a task."""
        while True:
            event = await self._spool.get()
            try:
                await self._publish_acknowledged(event)
            finally:
                self._spool.task_done()

    async def flushed(self, seconds: float) -> None:
        """Wait for the queue to be empty, at most so long; logs what could not be sent."""
        try:
            async with asyncio.timeout(seconds):
                await self._spool.join()
        except TimeoutError:
            _logger.error("events not sent", extra={"count": self._spool.qsize() + 1})

    async def _publish_acknowledged(self, event: Event) -> None:
        subject = subjects.event(self._connection.node, event.kind, event.id)

        async def attempt() -> None:
            try:
                headers = {"Nats-Msg-Id": message_id(event)}
                await self._js.publish(subject, codec.pack_message(event), headers=headers)
            except (NotFoundError, NatsError):
                await self.ensure()
                raise

        while True:
            try:
                with _ACKNOWLEDGED.of(event.id):
                    return await self._connection.while_up(attempt)
            except Unavailable as error:
                _logger.warning("event waits for the bus", extra={"kind": event.kind, "cause": error.message})

    async def follow(self, kind: str = "*", *, durable: str = "", since: int = -1) -> AsyncIterator[Seen]:
        """Events of a kind as they come, for ever, through reconnects.

        With `durable` each is delivered at least once, also across restarts of this process, and
        counts as taken when the next one is asked for. Without, reading begins after sequence
        `since` (0: the oldest kept; -1: only what is new).
        """
        config = ConsumerConfig(filter_subject=subjects.event_filter(self._connection.node, kind))
        if durable:
            config.durable_name, config.ack_policy, config.ack_wait = durable, AckPolicy.EXPLICIT, 30.0
        else:
            config.ack_policy, config.inactive_threshold = AckPolicy.NONE, 60.0
            config.deliver_policy = DeliverPolicy.NEW if since < 0 else DeliverPolicy.BY_START_SEQUENCE
            config.opt_start_seq = None if since < 0 else since + 1
        while True:
            try:
                async for seen in self._subscribed(config):
                    yield seen
                    if not durable:
                        config.deliver_policy = DeliverPolicy.BY_START_SEQUENCE
                        config.opt_start_seq = seen.sequence + 1
            except (NatsError, ConnectionError, CribusError) as error:
                _logger.warning("event reader starts again", extra={"cause": f"{type(error).__name__}: {error}"})
                await self._connection.up.wait()

    async def _subscribed(self, config: ConsumerConfig) -> AsyncIterator[Seen]:
        subject = config.filter_subject or ""
        await self.ensure()
        subscription = await self._js.pull_subscribe(
            subject, durable=config.durable_name, stream=self._stream, config=config
        )
        try:
            while self._connection.up.is_set():
                try:
                    # one a fetch: for more it waits; a server that went away has forgotten that we asked
                    messages = await self._connection.or_down(subscription.fetch(1, timeout=_POLL))
                except NatsTimeout:
                    continue
                for msg in messages:
                    yield Seen(msg.metadata.sequence.stream, codec.unpack_message(Event, msg.data))
                    if config.ack_policy == AckPolicy.EXPLICIT:
                        await msg.ack()
        finally:
            if self._connection.up.is_set():
                await subscription.unsubscribe()
