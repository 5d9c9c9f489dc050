"""A command's connection to the node: settings, the bus, and an end to waiting."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from cribus import config
from cribus.bus import service
from cribus.bus.service import Bus
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
        yield bus


def ask(what: Callable[[Bus], Awaitable[int]]) -> int:
    """Run a command's conversation with the node; its exit code."""

    async def conversation() -> int:
        async with connected(config.load()) as bus:
            return await what(bus)

    return asyncio.run(conversation())
