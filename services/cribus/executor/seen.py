"""What is true of containers now, with every witness of an exit asked, so that none counts as unseen too early.

An executor that has just started has no pidfds yet. A keeper that stands in is not init's parent: it tells of an
exit when somebody else has reaped init, which may take long, or when it was told to; but it has a pidfd.
"""

import asyncio
import os

from cribus.api.executor import State, States
from cribus.errors import NotFound
from cribus.executor import keepers, state
from cribus.executor.node import Node


async def one(node: Node, container: str) -> State:
    """Raises NotFound when there is no such container."""
    now = state.read(node, container)
    if now.status != "stopped" or now.exit_known:
        return now
    bundle = node.bundle(container)
    found = await keepers.get(bundle)
    try:
        record = state.load(bundle)
        if "pidfd" in found and record is not None and record.pid == now.pid:  # else its start was made again meanwhile
            state.seen_by(bundle, found["pidfd"])
    finally:
        for fd in found.values():
            os.close(fd)
    return state.read(node, container)


async def every(node: Node) -> States:
    """All containers and pods that have a run directory."""
    now = state.every(node)
    again = [each.container for each in now.containers if each.status == "stopped" and not each.exit_known]
    asked = await asyncio.gather(*(_if_there(node, container) for container in again))
    known = [each for each in now.containers if each.container not in again]
    return States(containers=[*known, *filter(None, asked)], pods=now.pods, dead=now.dead)


async def _if_there(node: Node, container: str) -> State | None:
    try:
        return await one(node, container)
    except NotFound:  # deleted meanwhile
        return None
