"""The image service's process: a bus half, and a fork server whose children unpack layers.

What is imported at the top comes before the fork, so it is the fork server alone.
"""

from cribus import forkserver

PRELOAD = ("cribus.images.worker",)


async def main(server: forkserver.Server) -> int:
    """Serve until told to stop, or until the fork server has gone: then only a new start helps."""
    import asyncio
    import logging
    import os
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path

    from cribus import config, log
    from cribus.bus import service
    from cribus.images import mend, verbs
    from cribus.images.node import Bus, Node

    settings = config.load()
    log.setup("images", node=settings.node, level=settings.log_level)
    threads = ThreadPoolExecutor(8, thread_name_prefix="images")
    asyncio.get_running_loop().set_default_executor(threads)
    async with service.connect(settings, "images") as bus:
        node = Node(settings.images, Path(settings.root) / "images", Bus(bus.publish, bus.tell, server.run))
        await asyncio.to_thread(node.open)
        mend.begin(node)
        async with bus.serve(verbs.table(node)):
            told = asyncio.create_task(service.until_told_to_stop())
            await asyncio.wait({told, server.closed}, return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
    if (
        node.bringing or node.pulls
    ):  # a thread that waits for a registry would hold up the end; what has come is on disk
        os._exit(int(server.closed.done()))
    if server.closed.done():
        logging.getLogger(__name__).error("the fork server has gone; starting again")
        return 1
    return 0


if __name__ == "__main__":
    started = forkserver.start(PRELOAD)

    import asyncio
    import sys

    sys.exit(asyncio.run(main(started)))
