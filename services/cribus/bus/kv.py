"""Records: one JetStream KV bucket a node, one revision a change.

Deleting purges the key's subject, so a removed record leaves nothing behind, not even a marker.
Loading counts against the stream's own state: nats-py's watch can say "that was all" before the
first value, and a reconcile that believed it would see no containers.

Who writes claims the bucket first, by a message that is gone at once. With each record goes the number of the last
message that its writer knows of, and the server takes it only where that is the last one: what a process that has a
successor was just about to send comes too late, however long it was stopped between its last look and the system call.
No message stays for that: while one does, nats-server 2.15 may undo purges when it is killed.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, KeyValueConfig, StorageType
from nats.js.errors import BadRequestError, NoStreamResponseError, NotFoundError

from cribus import pulse
from cribus.bus import subjects
from cribus.bus.connection import Connection
from cribus.errors import Unavailable
from cribus.steps import Step

FENCE = "fence"  # a key that is no record: what is written there makes all expect another number
LOAD = 10.0  # seconds that loading every record may take
_MORE = 2.0  # seconds in which at least one more has come
_CLAIM = 1.0  # seconds for claiming the bucket, for which a manager's start waits
_NOT_LAST = 10071  # nats-server's number for "wrong last sequence"
_SENDING = Step("manager.record.sending")  # from here on its sender looks no more whether it has a successor
_logger = logging.getLogger(__name__)


class Records:
    """The node's records, by key (`sandboxes.<id>`, `containers.<id>`)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._bucket = subjects.bucket(connection.node)
        self._stream = f"KV_{self._bucket}"
        self._last = 0  # the number of the last message, as far as we know
        self._turn = asyncio.Lock()
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

    async def claim(self) -> None:
        """Be the one who writes: what others put who claimed before is refused from here on. A bus that stores
        nothing, with a full disk, takes nothing of theirs either: then it is claimed with the first record."""
        async with self._turn:
            try:
                await self._connection.while_up(self._claimed, _CLAIM)
            except Unavailable as error:
                _logger.warning("the records' bucket is not claimed yet", extra={"cause": str(error)})

    async def _claimed(self) -> None:
        pulse.checked()
        self._last = await self._published(FENCE, b"", {})
        await self._js.purge_stream(self._stream, subject=self._subject(FENCE))

    async def put(self, key: str, value: bytes) -> int:
        """Write one record; durable when this returns. The revision. Raises Unavailable."""

        async def attempt() -> int:
            try:
                self._last = await self._published(key, value, {"Nats-Expected-Last-Sequence": str(self._last)})
            except BadRequestError as error:
                if error.err_code == _NOT_LAST:  # our successor's, and we end; or our own, whose answer was lost
                    await self._claimed()
                raise
            return self._last

        async with self._turn:
            return await self._connection.written(attempt)

    async def _published(self, key: str, value: bytes, headers: dict[str, str]) -> int:
        _SENDING.passed()
        try:
            return (await self._js.publish(self._subject(key), value, stream=self._stream, headers=headers)).seq
        except (NotFoundError, NoStreamResponseError):
            await self.ensure()  # someone deleted the store under us; what we hold is the truth
            raise

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
            found = await self._read(wanted) if wanted else {}
            found.pop(FENCE, None)
            return found

        return await self._connection.while_up(attempt, LOAD)

    async def _read(self, wanted: int) -> dict[str, bytes]:
        config = ConsumerConfig(
            ack_policy=AckPolicy.NONE,
            deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
            inactive_threshold=LOAD,
            mem_storage=True,
        )
        found: dict[str, bytes] = {}
        whole = asyncio.Event()
        prefix = len(self._subject(""))

        async def take(msg: Msg) -> None:
            found[msg.subject[prefix:]] = msg.data
            if len(found) == wanted:
                whole.set()

        subject = f"$KV.{self._bucket}.>"
        # Pushed: to fetch them takes four times as long, and for a thousand records a start waits for that.
        subscription = await self._js.subscribe(subject, stream=self._stream, config=config, cb=take)
        try:
            before = -1
            while not whole.is_set():
                if len(found) == before:
                    raise TimeoutError(f"{before} of {wanted} records came")
                before = len(found)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_MORE):
                        await whole.wait()
        finally:
            await subscription.unsubscribe()
        return found
