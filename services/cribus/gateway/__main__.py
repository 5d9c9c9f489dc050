"""The gateway's process: CRI on a unix socket, streams on a TCP address, nothing of its own to lose."""

from cribus import loading

if __name__ == "__main__":
    loading.begin()

import asyncio

from cribus import config, log, pulse
from cribus.bus import lines, service
from cribus.gateway import image_service, server
from cribus.gateway.late import Late
from cribus.gateway.runtime_service import Runtime
from cribus.gateway.streaming import server as streaming_server
from cribus.gateway.streaming.server import Streaming


async def main() -> None:
    """Answer at once, and forward as soon as there is a bus."""
    loading.done()
    settings = config.load()
    log.setup("gateway", node=settings.node, level=settings.log_level)
    pulse.keep(settings.run, "gateway", asyncio.get_running_loop().call_later)
    late = Late()
    streaming = Streaming(late.call, late.lines)
    tls = streaming_server.tls(settings.gateway.streaming_certificate, settings.gateway.streaming_key)
    runtime = Runtime(late.call, late, streaming, service.VERSION)
    async with (
        streaming.serving(settings.gateway.streaming, tls),
        server.serving(
            settings.gateway.socket, runtime.methods(), image_service.methods(late.call), late.asked
        ) as front,
        service.connect(settings, "gateway") as bus,
    ):
        late.arrived(bus.call, bus.events, lines.lines(bus.connection), bus.trace.asked)
        async with bus.serve({}):
            waits = [asyncio.create_task(wait) for wait in (service.until_told_to_stop(), front.deserted())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            await front.end()  # while there is a bus: what is cut is told there, too


if __name__ == "__main__":
    asyncio.run(main())
