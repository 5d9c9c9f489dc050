"""Which container or pod an id means, for those who go to its shim directly."""

import contextlib

from cribus.api.manager import Locate, Located
from cribus.errors import NotFound
from cribus.manager.node import Node
from cribus.manager.records import Container, Sandbox, State


async def locate(node: Node, request: Locate) -> Located:
    """By id or a unique beginning of one. Raises NotFound, InvalidArgument for what may be several."""
    if request.only_pods:
        return _pod(node.records.sandbox(request.id))
    with contextlib.suppress(NotFound):
        return _container(node, node.records.container(request.id))
    try:
        return _pod(node.records.sandbox(request.id))
    except NotFound as error:
        raise NotFound(f"there is no container or pod with id {request.id}") from error


def _container(node: Node, record: Container) -> Located:
    pod = node.records.sandboxes.get(record.pod)
    return Located(
        pod=record.pod,
        container=record.id,
        running=record.state in (State.RUNNING, State.STOPPING),
        tty=record.config.tty,
        stdin=record.config.stdin,
        netns=pod.namespaces.get("net", "") if pod else "",
    )


def _pod(record: Sandbox) -> Located:
    return Located(pod=record.id, running=record.state is State.READY, netns=record.namespaces.get("net", ""))
