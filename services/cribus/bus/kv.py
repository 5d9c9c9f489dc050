"""Records: one JetStream KV bucket a node, one revision a change.

Deleting purges the key's subject, so a removed record leaves nothing behind, not even a marker.
Loading counts against the stream's own state: nats-py's watch can say "that was all" before the
first value, and a reconcile that believed it would see no containers.
"""

from collections.abc import Callable

from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, KeyValueConfig, StorageType
from nats.js.errors import NoStreamResponseError, NotFoundError

from cribus.bus import subjects
from cribus.bus.connection import Connection

LOAD = 10.0  # seconds that loading every record may take
_BATCH = 256


class Records:
    """The node's records, by key (`sandboxes.<id>`, `containers.<id>`)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._bucket = subjects.bucket(connection.node)
        self._stream = f"KV_{self._bucket}"
        self.on_made: list[Callable[[], None]] = []  # called when the bucket was not there, and was made

    @property
    def _js(self) -> JetStreamContext:
        return self._connection.nats.jetstream(timeout=2)

    def _subject(self, key: str) -> str:
        return f"$KV.{self._bucket}.{key}"

    async def ensure(self) -> None:
        """Make the bucket if it is not there. Raises Unavailable while the bus is away."""

        async def attempt() -> None:
            try:
                await self._js.stream_info(self._stream)
            except NotFoundError:
                config = KeyValueConfig(
                    bucket=self._bucket,
                    storage=StorageType.FILE,
                    direct=True,
                    history=1,
                    replicas=self._connection.login.replicas,
                )
                await self._js.create_key_value(config)
                for callback in list(self.on_made):
                    callback()

        await self._connection.while_up(attempt)

    async def put(self, key: str, value: bytes) -> int:
        """Write one record; durable when this returns. The revision. Raises Unavailable."""

        async def attempt() -> int:
            try:
                return (await self._js.publish(self._subject(key), value, stream=self._stream)).seq
            except (NotFoundError, NoStreamResponseError):
                await self.ensure()  # someone deleted the store under us; what we hold is the truth
                raise

        return await self._connection.written(attempt)

    async def delete(self, key: str) -> None:
        """Remove a record without a trace. Idempotent. Raises Unavailable."""

        async def attempt() -> None:
            try:
                await self._js.purge_stream(self._stream, subject=self._subject(key))
            except NotFoundError:
                await self.ensure()  # with the store it is gone too

        await self._connection.written(attempt)

    async def load_all(self) -> dict[str, bytes]:
        """Every record, by key. Raises Unavailable rather than answering fewer than there are."""

        async def attempt() -> dict[str, bytes]:
            try:
                wanted = (await self._js.stream_info(self._stream)).state.messages
            except NotFoundError:
                await self.ensure()
                return {}
            return await self._read(wanted) if wanted else {}

        return await self._connection.while_up(attempt, LOAD)

    async def _read(self, wanted: int) -> dict[str, bytes]:
        config = ConsumerConfig(
            ack_policy=AckPolicy.NONE,
            deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
            inactive_threshold=LOAD,
            mem_storage=True,
        )
        subscription = await self._js.pull_subscribe(f"$KV.{self._bucket}.>", stream=self._stream, config=config)
        found: dict[str, bytes] = {}
        prefix = len(self._subject(""))
        try:
            while len(found) < wanted:
                for msg in await subscription.fetch(min(_BATCH, wanted - len(found)), timeout=2):
                    found[msg.subject[prefix:]] = msg.data
        finally:
            await subscription.unsubscribe()
        return found
