"""The image service's process: a bus half, and a fork server whose children unpack layers.

What is imported at the top comes before the fork, so it is the fork server alone.
"""

from cribus import forkserver

PRELOAD = ("cribus.images.worker", "cribus.images.parcel")


async def main(server: forkserver.Server) -> int:
    """Serve until told to stop, or until the fork server has gone: then only a new start helps."""
    import asyncio
    import os
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path

    from cribus import config, loading, log, pulse
    from cribus.bus import service
    from cribus.images import mend, verbs
    from cribus.images.node import Bus, Node

    loading.done()
    settings = config.load()
    log.setup("images", node=settings.node, level=settings.log_level)
    pulse.alone(settings.run, "images")
    pulse.keep(settings.run, "images", asyncio.get_running_loop().call_later).looks.append(server.look)
    threads = ThreadPoolExecutor(8, thread_name_prefix="images")
    asyncio.get_running_loop().set_default_executor(threads)
    async with service.connect(settings, "images") as bus:
        node = Node(settings.images, Path(settings.root) / "images", Bus(bus.publish, bus.tell, server.run))
        await asyncio.to_thread(node.open)
        await node.finish_removals()
        mend.begin(node)
        async with bus.serve(verbs.table(node)):
            code = await service.until_told_or_gone(server.closed)
    if node.bringing or node.pulls:
        os._exit(code)  # a thread that waits for a registry would hold up the end; what has come is on disk
    return code


if __name__ == "__main__":
    started = forkserver.start(PRELOAD)

    from cribus import loading

    loading.begin(behind=10)  # nobody waits for images while pods are found again

    import asyncio
    import sys

    sys.exit(asyncio.run(main(started)))
