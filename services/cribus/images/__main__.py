"""The image service's process."""

import asyncio
from pathlib import Path

from cribus import config, log
from cribus.bus import service
from cribus.images import verbs
from cribus.images.node import Node


async def main() -> None:
    settings = config.load()
    log.setup("images", node=settings.node, level=settings.log_level)
    async with service.connect(settings, "images") as bus:
        node = Node(settings.images, Path(settings.root) / "images", bus.publish, bus.tell)
        await asyncio.to_thread(node.open)
        async with bus.serve(verbs.table(node)):
            await service.until_told_to_stop()


if __name__ == "__main__":
    asyncio.run(main())
