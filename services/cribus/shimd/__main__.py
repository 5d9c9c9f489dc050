"""The shim supervisor. A bus half, and a fork server that holds what shims share and never sees the bus.

What is imported at the top comes before the fork, so it is the fork server alone.
"""

from cribus import forkserver

PRELOAD = ("cribus.shim.__main__", "cribus.shim.warm")


async def main(server: forkserver.Server) -> int:
    """Serve until told to stop, or until the fork server has gone: then only a new start helps."""
    import asyncio

    from cribus import config, loading, log, pulse
    from cribus.ahead import Ahead
    from cribus.api.events import Event
    from cribus.bus import credentials, service
    from cribus.shimd import verbs
    from cribus.shimd.adopt import Shim
    from cribus.shimd.roster import Roster
    from cribus.shimd.shims import Shims

    loading.done()
    settings = config.load()
    log.setup("shimd", node=settings.node, level=settings.log_level)
    pulse.alone(settings.run, "shimd")
    own = pulse.keep(settings.run, "shimd", asyncio.get_running_loop().call_later)
    own.looks.append(server.look)
    common = {
        "run": settings.run,
        "node": settings.node,
        "url": settings.bus.url or f"nats://{settings.bus.listen}",
        "credentials": str(credentials.directory(settings) / "shim.json"),
        "orders": 0,
        "_hooks": True,
    }

    ahead = Ahead(lambda orders: server.run("cribus.shim.__main__:main", common, [orders]))

    async def spawn(order: str, ready: int) -> Shim:
        child = await ahead.order(order.encode(), [ready])
        return Shim(child.pid, child.pidfd)

    news: asyncio.Queue[Event] = asyncio.Queue()
    shims = Shims(Roster(settings.run), spawn, news.put_nowait)
    own.looks.append(shims.look)
    await shims.adopt()
    ahead.fill()
    try:
        async with service.connect(settings, "shimd") as bus, bus.serve(verbs.table(shims)):
            teller = asyncio.create_task(bus.events.forward(news))
            code = await service.until_told_or_gone(server.closed)
            teller.cancel()
    finally:
        await shims.close()
        await ahead.close()
    return code


if __name__ == "__main__":
    started = forkserver.start(PRELOAD)

    from cribus import loading

    loading.begin()

    import asyncio
    import sys

    sys.exit(asyncio.run(main(started)))
