"""The table of what the manager answers, one line a verb."""

from collections.abc import Awaitable, Callable
from typing import Any

from cribus.api import manager as m
from cribus.api.verb import Verb
from cribus.manager import (
    container_checkpoint,
    container_create,
    container_list,
    container_remove,
    container_start,
    container_status,
    container_stop,
    container_update,
    leave,
    locate,
    metrics,
    sandbox_checkpoint,
    sandbox_list,
    sandbox_remove,
    sandbox_restore,
    sandbox_run,
    sandbox_status,
    sandbox_stop,
    stats,
    status,
)
from cribus.manager.node import Node

Handler = Callable[[Any], Awaitable[Any]]

_OPERATIONS: dict[Verb[Any, Any], Callable[[Node, Any], Awaitable[Any]]] = {
    m.RUN_SANDBOX: sandbox_run.run,
    m.STOP_SANDBOX: sandbox_stop.stop,
    m.REMOVE_SANDBOX: sandbox_remove.remove,
    m.SANDBOX_STATUS: sandbox_status.status,
    m.LIST_SANDBOXES: sandbox_list.list_all,
    m.UPDATE_SANDBOX: container_update.update_pod,
    m.CREATE_CONTAINER: container_create.create,
    m.START_CONTAINER: container_start.start,
    m.STOP_CONTAINER: container_stop.stop,
    m.REMOVE_CONTAINER: container_remove.remove,
    m.LIST_CONTAINERS: container_list.list_all,
    m.CONTAINER_STATUS: container_status.status,
    m.UPDATE_CONTAINER: container_update.update,
    m.CHECKPOINT_CONTAINER: container_checkpoint.checkpoint,
    m.CHECKPOINT_SANDBOX: sandbox_checkpoint.checkpoint,
    m.RESTORE_SANDBOX: sandbox_restore.restore,
    m.CONTAINER_STATS: stats.container,
    m.LIST_CONTAINER_STATS: stats.list_containers,
    m.SANDBOX_STATS: stats.sandbox,
    m.LIST_SANDBOX_STATS: stats.list_sandboxes,
    m.STATUS: status.status,
    m.UPDATE_CONFIG: status.update_config,
    m.RUNTIME_CONFIG: status.runtime_config,
    m.LIST_METRIC_DESCRIPTORS: metrics.descriptors,
    m.LIST_METRICS: metrics.list_all,
    m.PAGE_SANDBOXES: sandbox_list.page,
    m.PAGE_CONTAINERS: container_list.page,
    m.PAGE_CONTAINER_STATS: stats.page_containers,
    m.PAGE_SANDBOX_STATS: stats.page_sandboxes,
    m.PAGE_METRICS: metrics.page,
    m.LOCATE: locate.locate,
    m.LEAVE: leave.leave,
}


_UNHEARD: dict[Verb[Any, Any], Callable[[Node, Any], Awaitable[None]]] = {
    m.START_CONTAINER: container_start.unheard,
}


def unheard(node: Node) -> dict[Verb[Any, Any], Handler]:
    """What to do about something made for a caller who went away before the answer."""
    return {verb: _bound(node, operation) for verb, operation in _UNHEARD.items()}


def table(node: Node) -> dict[Verb[Any, Any], Handler]:
    """Each verb with what answers it on this node."""
    return {verb: _bound(node, operation) for verb, operation in _OPERATIONS.items()}


def _bound(node: Node, operation: Callable[[Node, Any], Awaitable[Any]]) -> Handler:
    async def handler(request: Any) -> Any:
        return await operation(node, request)

    return handler
