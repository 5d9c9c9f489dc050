"""The container manager's process."""

from cribus import loading

if __name__ == "__main__":
    loading.begin()

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial

from cribus import config, log, pulse
from cribus.api import events
from cribus.bus import service
from cribus.bus.connection import pause
from cribus.errors import CribusError
from cribus.kept import Kept
from cribus.manager import container_stop, container_update, exits, hangs, verbs
from cribus.manager.ledger import Ledger
from cribus.manager.node import Node
from cribus.manager.open import open_node
from cribus.manager.reconcile import reconcile

_AGAIN = 0.1  # seconds until an exit that could not be recorded is tried again
_LAST = 2.0  # seconds that the last changes may need on their way to the KV
_logger = logging.getLogger(__name__)


async def main() -> None:
    """First agree with what really runs, then answer."""
    loading.done()
    settings = config.load()
    log.setup("manager", node=settings.node, level=settings.log_level)
    pulse.alone(settings.run, "manager")
    own = pulse.keep(settings.run, "manager", asyncio.get_running_loop().call_later)
    news: asyncio.Queue[events.Event] = asyncio.Queue()
    own.looks.append(partial(hangs.look, own.page, news.put_nowait))
    async with service.connect(settings, "manager") as bus:
        await bus.kv.ensure()
        await bus.kv.claim()
        await bus.trace.ensure()
        kept = Kept(settings.root)
        ledger = Ledger(f"{settings.run}/records", bus.kv, lambda key: kept.has(key.partition(".")[2]))
        bus.connection.on_reconnect.append(ledger.doubt)
        bus.kv.on_made.append(ledger.doubt)
        node = await open_node(settings, bus.call, bus.publish, ledger)
        node.listened = bus.connection.waits
        running = (hear_exits(bus, node), follow_exits(bus, node), ledger.mirror(), bus.events.forward(news))
        tasks = [asyncio.create_task(one) for one in running]
        try:
            with bus.events.held():
                rest = await reconcile(node)
            async with (
                node.nri.serving(
                    service.VERSION, partial(container_update.limit, node), partial(container_stop.evict, node)
                ),
                bus.serve(verbs.table(node), verbs.unheard(node)) as serving,
            ):
                node.listened = serving.listened
                tasks.append(asyncio.create_task(later(rest)))
                await first_of(service.until_told_to_stop(), tasks)
            await ledger.flushed(_LAST)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await node.looker.close()


async def hear_exits(bus: service.Bus, node: Node) -> None:
    """Take every exit as its shim says it, also while the stream takes none because its disk is full."""
    async for event in bus.heard(events.EXITED):
        await _taken(node, event)


async def later(rest: Callable[[], Awaitable[None]]) -> None:
    """Beside the first requests; a task that ends would end the process."""
    await rest()
    await asyncio.get_running_loop().create_future()


async def follow_exits(bus: service.Bus, node: Node) -> None:
    """Take every exit that the stream has, in order: what was said while nobody heard is there too."""
    async for seen in bus.follow(events.EXITED, durable="manager"):
        await _taken(node, seen.event)


async def _taken(node: Node, event: events.Event) -> None:
    """Until it is in the record."""
    with log.ids(trace=event.trace, pod=event.pod, container=event.id):
        while True:
            try:
                return await exits.took(node, event)
            except CribusError as error:  # its record was just being written, or cannot be
                _logger.info("an exit is not recorded yet", extra={"cause": error.message})
                await pause(_AGAIN)


async def first_of(told: Coroutine[None, None, None], tasks: list[asyncio.Task[None]]) -> None:
    """Until told to stop. A task that breaks ends the process, so that it is started anew."""
    stop = asyncio.ensure_future(told)
    await asyncio.wait((stop, *tasks), return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            stop.cancel()
            task.result()


if __name__ == "__main__":
    asyncio.run(main())
