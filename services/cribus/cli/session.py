"""A command's connection to the node: settings, the bus, and an end to waiting."""

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

from cribus import config
from cribus.bus import service
from cribus.bus.service import Bus
from cribus.cli.supervisor import control
from cribus.config import Settings
from cribus.errors import Unavailable

PATIENCE = 5.0  # seconds to wait for the bus


@contextlib.asynccontextmanager
async def connected(settings: Settings, patience: float = PATIENCE) -> AsyncIterator[Bus]:
    """The bus. Raises Unavailable when it does not answer within `patience` seconds."""
    logging.getLogger().handlers[:] = [logging.NullHandler()]
    where = settings.bus.url or settings.bus.listen
    async with contextlib.AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(patience):
                bus = await stack.enter_async_context(service.connect(settings, "cli"))
        except TimeoutError as error:
            raise Unavailable(f"the bus at {where} does not answer; `cribus up` starts the node") from error
        bus.connection.sender = f"cribus {' '.join(sys.argv[1:2])} (pid {os.getpid()})"
        yield bus


def ask(what: Callable[[Bus], Awaitable[int]]) -> int:
    """Run a command's conversation with the node; its exit code."""

    settings = config.load()
    if not settings.bus.url and not control.supervised(settings) and not _listens(settings.bus.listen):
        raise Unavailable("the node is not running; `cribus up` starts it")

    async def conversation() -> int:
        async with connected(settings) as bus:
            return await what(bus)

    return asyncio.run(conversation())


def _listens(place: str) -> bool:
    """Whether anything is at host:port of this host."""
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except OSError:
        return False
    return True
