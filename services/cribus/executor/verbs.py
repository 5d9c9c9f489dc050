"""Which function answers which verb."""

from collections.abc import Awaitable, Callable
from typing import Any

from cribus.api import executor
from cribus.api.executor import Criu, Handlers, Named, State, States
from cribus.api.verb import Empty, Verb
from cribus.executor import containers, execs, found, pods, seen
from cribus.executor.criu import program
from cribus.executor.node import Node
from cribus.executor.runtimes import features


def table(node: Node) -> dict[Verb[Any, Any], Callable[[Any], Awaitable[Any]]]:
    """For bus.serve."""

    async def one(request: Named) -> State:
        await found.known(node, request.container)
        return await seen.one(node, request.container)

    async def every(request: Empty) -> States:
        return await seen.every(node)

    async def criu(request: Empty) -> Criu:
        return await program.known(node)

    async def handlers(request: Empty) -> Handlers:
        return await features.every(node)

    def bound(function: Callable[[Node, Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
        return lambda request: function(node, request)

    return {
        executor.CREATE_POD: bound(pods.create),
        executor.DELETE_POD: bound(pods.delete),
        executor.CREATE: bound(containers.create),
        executor.START: bound(containers.start),
        executor.KILL: bound(containers.kill),
        executor.DELETE: bound(containers.delete),
        executor.EXEC: bound(execs.run),
        executor.PAUSE: bound(containers.pause),
        executor.RESUME: bound(containers.resume),
        executor.UPDATE: bound(containers.update),
        executor.CHECKPOINT: bound(containers.checkpoint),
        executor.CRIU: criu,
        executor.STATE: one,
        executor.STATES: every,
        executor.HANDLERS: handlers,
    }
