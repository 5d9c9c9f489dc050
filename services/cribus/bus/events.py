"""News: a JetStream stream a node, with sequence numbers and replay.

Publishing never waits for the bus: events queue here in order and go out as soon as it takes them,
and wait in a file beside (spool.py), so that they outlive this process.
The message id lets the stream drop the repeat of an event whose acknowledgement was lost.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Iterator
from typing import NamedTuple

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StorageType, StreamConfig, StreamState
from nats.js.errors import NotFoundError

from cribus.api.events import Event
from cribus.bus import codec, subjects
from cribus.bus.connection import Connection
from cribus.bus.spool import Spool
from cribus.errors import CribusError, InvalidArgument, Unavailable
from cribus.steps import Step

KEEP = 7 * 24 * 3600  # seconds of history
KEEP_BYTES = 256 << 20
_DUPLICATES = 600.0  # seconds in which a repeated message id is dropped
_HELD = 5.0  # seconds for which events wait at most because of other things to do
_IDLE = 60.0  # seconds after which the server forgets a reader that does not ask
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

    def __init__(self, connection: Connection, spool: Spool) -> None:
        self._connection = connection
        self._stream = subjects.event_stream(connection.node)
        self._spool = spool
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._free = asyncio.Event()
        self._free.set()
        for left in spool.left():
            self._queue.put_nowait(left)

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
                    num_replicas=self._connection.login.replicas,
                )
                await self._js.add_stream(config)

        await self._connection.while_up(attempt)

    async def publish(self, event: Event) -> None:
        """Queue an event; `pump` sends it, or that of the next process of this service."""
        packed = codec.pack_message(event)
        self._spool.add(packed)
        self._queue.put_nowait(packed)

    async def last(self) -> int:
        """The sequence number of the newest event, 0 when there never was one. Raises Unavailable."""
        return int((await self._state()).last_seq)

    async def first(self) -> int:
        """That of the oldest event that is kept; one more than the last when none is. Raises Unavailable."""
        state = await self._state()
        return int(state.first_seq if state.messages else state.last_seq + 1)

    async def _state(self) -> StreamState:
        await self.ensure()
        return await self._connection.while_up(self._info)

    async def _info(self) -> StreamState:
        return (await self._js.stream_info(self._stream)).state

    async def forward(self, news: asyncio.Queue[Event]) -> None:
        """Publish what came and comes, from before there was a bus on. Runs as a task."""
        while True:
            await self.publish(await news.get())

    async def pump(self) -> None:
        """Send queued events, in order, each until the stream has it. Runs as a task."""
        while True:
            packed = await self._queue.get()
            await self._free.wait()
            try:
                await self._publish_acknowledged(packed)
            finally:
                self._queue.task_done()
            if self._queue.empty():
                self._spool.clear()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While inside, but not for long, events wait: what somebody waits for comes first."""
        self._free.clear()
        end = asyncio.get_running_loop().call_later(_HELD, self._free.set)
        try:
            yield
        finally:
            end.cancel()
            self._free.set()

    async def flushed(self, seconds: float) -> None:
        """Wait for the queue to be empty, at most so long; logs what could not be sent."""
        try:
            async with asyncio.timeout(seconds):
                await self._queue.join()
        except TimeoutError:
            _logger.warning("events not sent yet", extra={"count": self._queue.qsize() + 1})

    def close(self) -> None:
        """Leave the rest to the next process of this service."""
        self._spool.close()

    async def _publish_acknowledged(self, packed: bytes) -> None:
        try:
            event = codec.unpack_message(Event, packed)
        except InvalidArgument as error:  # of a version that says it otherwise
            _logger.error("an event in the spool is none", extra={"cause": error.message})
            return None
        subject = subjects.event(self._connection.node, event.kind, event.id)

        async def attempt() -> None:
            try:
                await self._js.publish(subject, packed, headers={"Nats-Msg-Id": message_id(event)})
            except (NotFoundError, NatsError):
                await self.ensure()
                raise

        while True:
            try:
                with _ACKNOWLEDGED.of(event.id):
                    return await self._connection.written(attempt)
            except Unavailable as error:
                _logger.warning("event waits for the bus", extra={"kind": event.kind, "cause": error.message})

    async def heard(self, kind: str) -> AsyncGenerator[Event, None]:
        """Events of a kind as they are said, each time that they are: at once, whether the stream takes them or
        not. Those of before, and of while the bus was away, are `follow`'s to bring."""
        said: asyncio.Queue[Msg] = asyncio.Queue()
        subject = subjects.event_filter(self._connection.node, kind)
        subscription = await self._connection.while_up(
            lambda: self._connection.nats.subscribe(subject, cb=said.put, pending_msgs_limit=-1, pending_bytes_limit=-1)
        )
        try:
            while True:
                event = _event(await said.get())
                if event is not None:
                    yield event
        finally:
            if self._connection.up.is_set():
                await subscription.unsubscribe()

    async def follow(self, kind: str = "*", *, durable: str = "", since: int = -1) -> AsyncGenerator[Seen, None]:
        """Events of a kind as they come, for ever, through reconnects.

        With `durable` each is delivered at least once, also across restarts of this process, and
        counts as taken when the next one is asked for. Without, each comes once, in the stream's
        order, and reading begins after sequence `since` (0: the oldest kept; -1: only what is new).
        """
        config = ConsumerConfig(filter_subject=subjects.event_filter(self._connection.node, kind))
        if durable:
            config.durable_name, config.ack_policy, config.ack_wait = durable, AckPolicy.EXPLICIT, 30.0
        else:
            config.ack_policy, config.inactive_threshold = AckPolicy.NONE, _IDLE
            config.deliver_policy = DeliverPolicy.BY_START_SEQUENCE
        while True:
            try:
                if not durable:
                    since = await self._begin(since)
                    config.opt_start_seq = since + 1
                async with contextlib.aclosing(self._subscribed(config)) as news:
                    async for seen in news:
                        yield seen
                        since = seen.sequence
            except (NatsError, ConnectionError, CribusError) as error:
                _logger.warning("event reader starts again", extra={"cause": f"{type(error).__name__}: {error}"})
                await self._connection.up.wait()

    async def _begin(self, since: int) -> int:
        """After which number to read, once it is known what there is: the same in every later try."""
        last = await self.last()
        if since > last:
            return 0  # the stream was lost and made anew: nobody has read what it has
        return since if since >= 0 else last

    async def _subscribed(self, config: ConsumerConfig) -> AsyncGenerator[Seen, None]:
        subject = config.filter_subject or ""
        await self.ensure()
        subscription = await self._js.pull_subscribe(
            subject, durable=config.durable_name, stream=self._stream, config=config
        )
        count = 0
        try:
            while self._connection.up.is_set():
                try:
                    # one a fetch: for more it waits; a server that went away has forgotten that we asked
                    messages = await self._connection.or_down(subscription.fetch(1, timeout=_POLL))
                except NatsTimeout:
                    continue
                for msg in messages:
                    count += 1
                    place = msg.metadata.sequence
                    if config.ack_policy == AckPolicy.NONE and place.consumer != count:
                        raise ConnectionError(f"{place.consumer - count} events were sent and did not arrive")
                    event = _event(msg)
                    if event is not None:
                        yield Seen(place.stream, event)
                    if config.ack_policy == AckPolicy.EXPLICIT:
                        await msg.ack()
        finally:
            if self._connection.up.is_set():
                await subscription.unsubscribe()


def _event(msg: Msg) -> Event | None:
    """None for what is no event: it must not keep its reader from those behind it."""
    try:
        return codec.unpack_message(Event, msg.data)
    except InvalidArgument as error:
        _logger.error("unreadable event", extra={"subject": msg.subject, "cause": error.message})
        return None
