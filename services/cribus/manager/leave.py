"""Leaving the host: what a node keeps between pods goes, so that nothing tells that it was here."""

import asyncio

from cribus.api.cri.sandbox import RemovePodSandboxRequest
from cribus.api.verb import Empty
from cribus.errors import FailedPrecondition
from cribus.manager import sandbox_remove
from cribus.manager.node import Node
from cribus.manager.records import State


async def leave(node: Node, request: Empty) -> Empty:
    """Remove bridge, nftables tables and the node's own cgroup. Idempotent; the next pod makes them anew.

    A pod that is just being made, which no list shows, is waited for and removed. Raises
    FailedPrecondition while there are others.
    """
    making = [one for one in node.records.sandboxes.values() if one.state is State.CREATING]
    for one in making:
        await sandbox_remove.remove(node, RemovePodSandboxRequest(pod_sandbox_id=one.id))
    if node.records.sandboxes:
        raise FailedPrecondition(f"{len(node.records.sandboxes)} pods are left; remove them first")
    await asyncio.to_thread(node.network.remove)
    if node.tree.driver != "systemd":  # which removes an empty slice itself
        await asyncio.to_thread(node.tree.delete, f"/{node.tree.root.strip('/')}")
    return Empty()
