"""Frames of exec and attach streams on the real bus: the way that `far` asks for."""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from cribus.bus import subjects
from cribus.bus.codec import pack
from cribus.bus.connection import Connection
from cribus.bus.far import Line, Open
from cribus.errors import InvalidArgument

_logger = logging.getLogger(__name__)


class _Line:
    """One stream's subjects. What is sent while the bus is away is repeated once it is back."""

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection = connection
        self._subject = subjects.stream(connection.node, stream, "s")
        self._reply = connection.reply_to(stream)
        self._nobody = False

    async def send(self, frame: bytes) -> None:
        await self._connection.send(self._subject, frame)

    def on_silence(self, msg: Any) -> None:
        """The bus says "no responders" to a frame that asked for an answer."""
        self._nobody = True

    async def listened(self) -> bool:
        """What came of the look before this one; and look again, with a frame that means nothing."""
        heard = not self._nobody
        self._nobody = False
        await self._connection.send(self._subject, pack(["n"]), self._reply)
        return heard


def lines(connection: Connection) -> Open:
    """Streams over this connection."""

    @contextlib.asynccontextmanager
    async def opened(
        stream: str, on_frame: Callable[[bytes], None], on_reconnect: Callable[[], None]
    ) -> AsyncIterator[Line]:
        async def feed(msg: Any) -> None:
            try:
                on_frame(msg.data)
            except InvalidArgument as error:
                _logger.warning("rubbish on a stream", extra={"stream": stream, "cause": error.message})

        line = _Line(connection, stream)
        subject = subjects.stream(connection.node, stream, "c")
        subscription = await connection.nats.subscribe(subject, cb=feed, pending_msgs_limit=-1, pending_bytes_limit=-1)
        connection.on_reconnect.append(on_reconnect)
        connection.answers[stream] = line.on_silence
        try:
            yield line
        finally:
            connection.on_reconnect.remove(on_reconnect)
            del connection.answers[stream]
            if connection.up.is_set():
                await subscription.unsubscribe()

    return opened
