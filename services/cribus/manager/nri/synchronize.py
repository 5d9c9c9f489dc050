"""What exists, told to a plugin that has just come: one message, or several where one is not enough."""

import asyncio
from collections.abc import AsyncGenerator

from cribus.manager.nri import describe
from cribus.manager.nri.existing import Moment
from cribus.manager.nri.frames import MOST
from cribus.manager.nri.messages import SynchronizeRequest
from cribus.manager.nri.protobuf import encode

# Plugins from before NRI 0.7 want everything in one message, so each is as large as ttrpc takes it, but for its
# envelope.
_BUDGET = MOST - 4096


async def parts(moment: Moment) -> AsyncGenerator[SynchronizeRequest, None]:
    """Messages whose last one says that there are no more. Others work while it packs."""
    made, size = SynchronizeRequest(pods=[], containers=[]), 0
    async for one, is_pod in _packed(moment):
        if size and size + len(one) > _BUDGET:
            made.more = True
            yield made
            made, size = SynchronizeRequest(pods=[], containers=[]), 0
        (made.pods if is_pod else made.containers).append(one)
        size += len(one) + 8
    yield made


async def _packed(moment: Moment) -> AsyncGenerator[tuple[bytes, bool], None]:
    for pod in moment.pods:
        yield encode(describe.pod(pod)), True
    for record, spec in moment.containers:
        yield encode(describe.container(record, spec())), False
        await asyncio.sleep(0)
