"""Leaving the host: what a node keeps between pods goes, so that nothing tells that it was here."""

import asyncio

from cribus.api.verb import Empty
from cribus.errors import FailedPrecondition
from cribus.manager.node import Node


async def leave(node: Node, request: Empty) -> Empty:
    """Remove bridge, nftables tables and the node's own cgroup. Idempotent; the next pod makes them anew.

    Raises FailedPrecondition while there are pods.
    """
    if node.records.sandboxes:
        raise FailedPrecondition(f"{len(node.records.sandboxes)} pods are left; remove them first")
    await asyncio.to_thread(node.network.remove)
    if node.tree.driver != "systemd":  # which removes an empty slice itself
        await asyncio.to_thread(node.tree.delete, f"/{node.tree.root.strip('/')}")
    return Empty()
