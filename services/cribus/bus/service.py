"""A service's life on the bus: connect, agree, answer, until told to stop."""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import AsyncGenerator, AsyncIterator
from types import MappingProxyType

from nats import micro

from cribus import steps
from cribus.api import events as news
from cribus.api import trace as inside
from cribus.api.events import Event
from cribus.api.verb import A, Message, Q, Verb
from cribus.bus import client, credentials, server, subjects, trace
from cribus.bus.codec import pack_message
from cribus.bus.connection import Connection
from cribus.bus.events import Events, Seen
from cribus.bus.history import History
from cribus.bus.kv import Records
from cribus.bus.spool import Spool
from cribus.config import Settings

VERSION = "0.1.0"
_logger = logging.getLogger(__name__)


class Bus:
    """What a process does on the bus. `connection` is for streams and subscriptions of its own."""

    def __init__(self, connection: Connection, spool: Spool) -> None:
        self.connection = connection
        self.node = connection.node
        self.kv = Records(connection)
        self.events = Events(connection, spool)
        self.history = History(connection)
        self.trace = trace.Trace(connection)

    async def call(self, verb: Verb[Q, A], request: Q, /, *, id: str = "", timeout: float = 30.0) -> A:
        """Ask a service (api/verb.py, `Call`)."""
        return await client.call(self.connection, verb, request, (id, timeout))

    async def publish(self, event: Event) -> None:
        """Tell the node's event stream; never waits for the bus."""
        await self.events.publish(event)

    async def tell(self, id: str, message: Message) -> None:
        """Progress of something that a client waits for: not stored, lost if nobody listens."""
        await self.connection.send(subjects.progress(self.node, id), pack_message(message))

    def follow(self, kind: str = "*", *, durable: str = "", since: int = -1) -> AsyncGenerator[Seen, None]:
        """Events as they come (bus/events.py)."""
        return self.events.follow(kind, durable=durable, since=since)

    def heard(self, kind: str) -> AsyncGenerator[Event, None]:
        """Events as they are said (bus/events.py)."""
        return self.events.heard(kind)

    @contextlib.asynccontextmanager
    async def serve(
        self, table: server.Table, unheard: server.Table = MappingProxyType({})
    ) -> AsyncIterator[server.Server]:
        """While inside, answer these verbs, and what is being done; answers that reach nobody go to
        `unheard`'s handlers."""
        whole = {**table, inside.going(self.connection.service): self.trace.going}
        async with server.serve(self.connection, server.Tables(whole, unheard, self.trace.asked)) as serving:
            await self.publish(_started(self.connection.service))
            yield serving


@contextlib.asynccontextmanager
async def connect(settings: Settings, service: str) -> AsyncIterator[Bus]:
    """The bus as `service` sees it. Waits for the bus as long as it takes."""
    connection = Connection(credentials.login(settings, service))
    await connection.open()
    bus = Bus(connection, Spool(f"{settings.run}/events/{service}"))
    steps.heard = bus.trace.heard
    pump = asyncio.create_task(bus.events.pump())
    admin = await micro.add_service(
        connection.nats, name=f"cribus-{service}", version=VERSION, metadata={"node": settings.node}
    )
    try:
        yield bus
    finally:
        await bus.trace.flush()
        await bus.events.flushed(2.0)
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)
        bus.events.close()
        if connection.up.is_set():
            await admin.stop()
        await connection.close()


def _started(service: str) -> Event:
    """So that whoever reads the history later sees which process did what, and what was interrupted."""
    detail = {"pid": str(os.getpid()), "version": VERSION, "boot": _boot()}
    return Event(kind=news.SERVICE_STARTED, id=service, at=time.time_ns(), detail=detail)


def _boot() -> str:
    """Of this boot of the machine, no other has the same."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


async def until_told_to_stop() -> None:
    """Say that the service is ready, then wait for SIGTERM or SIGINT."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    _logger.info("ready")
    await told.wait()
    _logger.info("stopping")


async def until_told_or_gone(fork_server: asyncio.Future[None]) -> int:
    """The same for a process with a fork server: 0 when it was told to stop, 1 when that has gone, after
    which only a new start helps."""
    told = asyncio.create_task(until_told_to_stop())
    await asyncio.wait({told, fork_server}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if not fork_server.done():
        return 0
    _logger.error("the fork server has gone; starting again")
    return 1
