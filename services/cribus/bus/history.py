"""What was: reading the node's events and spans of some time ago, many at a time, to the present end."""

import datetime
from collections.abc import AsyncIterator

from nats.errors import TimeoutError as NatsTimeout
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from cribus.api.events import Event
from cribus.api.trace import Batch, Span
from cribus.bus import codec, subjects
from cribus.bus.connection import Connection

_BATCH = 500  # messages that are asked for at once
_PATIENCE = 5.0  # seconds for one batch
_IDLE = 30.0  # seconds after which the server forgets a reader that has gone


class History:
    """The streams of a node as they are now. `since` is ns since the epoch, 0 for the oldest kept."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def events(self, since: int, kind: str = "*") -> AsyncIterator[Event]:
        """Events of a kind in the order in which they were told."""
        node = self._connection.node
        async for data in self._read(subjects.event_stream(node), subjects.event_filter(node, kind), since):
            yield codec.unpack_message(Event, data)

    async def spans(self, since: int) -> AsyncIterator[Span]:
        """Spans, those of one process in the order in which they ended."""
        node = self._connection.node
        async for data in self._read(subjects.trace_stream(node), subjects.trace(node, "*"), since):
            for span in codec.unpack_message(Batch, data).spans:
                yield span

    async def _read(self, stream: str, subject: str, since: int) -> AsyncIterator[bytes]:
        """Every message from then to now. A stream that is not there is empty."""
        js = self._connection.nats.jetstream(timeout=2)
        try:
            last = (await js.stream_info(stream)).state.last_seq
        except NotFoundError:
            return
        config = ConsumerConfig(ack_policy=AckPolicy.NONE, inactive_threshold=_IDLE, mem_storage=True)
        if since:
            config.deliver_policy = DeliverPolicy.BY_START_TIME
            config.opt_start_time = datetime.datetime.fromtimestamp(since / 1e9, datetime.UTC)
        else:
            config.deliver_policy = DeliverPolicy.ALL
        subscription = await js.pull_subscribe(subject, stream=stream, config=config)
        try:
            left = int((await subscription.consumer_info()).num_pending or 0)
            while left > 0:
                try:
                    messages = await subscription.fetch(min(_BATCH, left), timeout=_PATIENCE)
                except NatsTimeout:  # the oldest were dropped meanwhile
                    return
                left -= len(messages)
                for msg in messages:
                    yield msg.data
                    if msg.metadata.sequence.stream >= last:
                        return
        finally:
            await subscription.unsubscribe()
