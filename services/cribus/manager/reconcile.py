"""At start: records, what the executor sees running, and what lies on disk are made to agree.

Half-done operations are finished through the same teardown that requests use. What runs without a
record gets its record back from the copies beside it (a pod's record.json, a container's
config.json); only what has none is torn down. An empty KV is therefore no reason to end anything.
"""

import asyncio
import json
import logging
import os
import shutil
import time
from collections.abc import Awaitable, Iterable

import msgspec

from cribus.api import executor, images, shimd
from cribus.api.verb import Empty
from cribus.manager import (
    container_checkpoint,
    container_create,
    container_remove,
    container_start,
    exits,
    lifecycle,
    news,
    sandbox_remove,
    sandbox_run,
    sandbox_stop,
    spec_build,
)
from cribus.manager.node import Node
from cribus.manager.records import Container, Sandbox, State

_AT_ONCE = 16
_EACH = 60.0  # seconds that one pod or container may take; it stays as it is then, for a later request
_SERVICES = 120.0  # seconds that the services below may need to come up
_NEWS = 300 * 10**9  # ns: changes younger than this are told again; the stream drops repeats
_logger = logging.getLogger(__name__)


async def reconcile(node: Node) -> None:
    """Make everything agree. Raises Unavailable when the executor or shimd do not come up."""
    seen = await node.call(executor.STATES, Empty(), timeout=_SERVICES)
    shims = await node.call(shimd.LIST_SHIMS, Empty(), timeout=_SERVICES)
    states = {one.container: one for one in seen.containers}
    await _tell_again(node)
    await _rebuild(node, seen.pods, states)
    await _each(_container(node, one, states) for one in list(node.records.containers.values()))
    await _each(_pod(node, one, set(seen.pods)) for one in list(node.records.sandboxes.values()))
    await _each(_shim(node, one, shims.pids) for one in list(node.records.sandboxes.values()))
    await _orphans(node, shims.pids)


async def _each(works: Iterable[Awaitable[None]]) -> None:
    """Some at once; one that fails or hangs is logged and hinders no other."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(work: Awaitable[None]) -> None:
        async with room:
            try:
                async with asyncio.timeout(_EACH):
                    await work
            except Exception:
                _logger.exception("not reconciled; it stays for a later request")

    await asyncio.gather(*(one(work) for work in works))


# What has no record


async def _rebuild(node: Node, pods: list[str], states: dict[str, executor.State]) -> None:
    for id in pods:
        if id not in node.records.sandboxes:
            await _each([_rebuild_pod(node, id)])
    there = _names(f"{node.settings.run}/containers")
    for id in dict.fromkeys([*states, *there]):
        if id not in node.records.containers:
            await _each([_rebuild_container(node, id)])


async def _rebuild_pod(node: Node, id: str) -> None:
    record = _kept_pod(f"{node.pod_dir(id)}/record.json")
    if record is not None and record.id == id:
        _logger.warning("pod without a record: rebuilt", extra={"pod": id})
        await lifecycle.begin(node, record)
    else:
        _logger.warning("pod without a record or a copy of one: torn down", extra={"pod": id})
        await sandbox_stop.teardown(node, Sandbox(id=id))


async def _rebuild_container(node: Node, id: str) -> None:
    record = _kept_container(f"{node.container_dir(id)}/config.json")
    if record is not None and record.id == id and record.pod in node.records.sandboxes:
        _logger.warning("container without a record: rebuilt", extra={"container": id})
        await lifecycle.begin(node, record)
    else:
        _logger.warning("container without a record or a copy of one: torn down", extra={"container": id})
        await container_remove.teardown(node, Container(id=id, pod="", started_at=1))


def _kept_pod(path: str) -> Sandbox | None:
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=Sandbox)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        _logger.error("unreadable copy of a record", extra={"path": path, "cause": str(error)})
        return None


def _kept_container(path: str) -> Container | None:
    try:
        with open(path, "rb") as file:
            kept = json.load(file)["annotations"][spec_build.RECORD]
        return msgspec.json.decode(kept, type=Container)
    except FileNotFoundError:
        return None
    except (KeyError, ValueError, msgspec.MsgspecError) as error:
        _logger.error("unreadable copy of a record", extra={"path": path, "cause": str(error)})
        return None


# What has one


async def _container(node: Node, record: Container, states: dict[str, executor.State]) -> None:
    state = states.get(record.id)
    if record.pod not in node.records.sandboxes or record.state is State.REMOVING:
        await container_remove.by_id(node, record.id)
    elif record.state is State.CREATING:
        await container_create.undo(node, record)
    elif record.state in exits.ALIVE:
        await _was_running(node, record, state)
    elif record.state in (State.CREATED, State.STARTING) and state is not None:
        await _was_starting(node, record, state)
    elif record.state is State.STARTING:
        await container_start.as_created(node, record)


async def _was_running(node: Node, record: Container, state: executor.State | None) -> None:
    """Still running, or its true exit; after the host went down nobody knows."""
    if state is None:
        await exits.took(node, exits.of_state(executor.State(container=record.id, pod=record.pod)))
    elif state.status == "stopped":
        await exits.took(node, exits.of_state(state))
    elif state.status == "paused":
        container_checkpoint.resume_later(node, record.id)  # whoever wanted it written down was killed


async def _was_starting(node: Node, record: Container, state: executor.State) -> None:
    """The executor knows it. It ran if it got beyond its barrier; else the attempt is cleared away."""
    ran = state.status in ("running", "paused") or (state.status == "stopped" and state.started_at > 0)
    if not ran:
        await container_start.as_created(node, record)
        return
    started = state.started_at or record.started_at or time.time_ns()
    if record.state is State.CREATED:  # rebuilt from its copy, which is from before its start
        record = await lifecycle.move(node, record, State.STARTING, started_at=started)
    record = await lifecycle.move(node, record, State.RUNNING, pid=state.pid, started_at=started)
    if state.status == "stopped":
        await exits.took(node, exits.of_state(state))


async def _pod(node: Node, record: Sandbox, there: set[str]) -> None:
    async with node.locks.of(record.id):
        if record.state is State.CREATING:
            await sandbox_run.undo(node, record, "its making was cut short")
        elif record.state is State.REMOVING:
            await sandbox_remove.to_nothing(node, record)
        elif record.state is State.STOPPING or (record.state is State.READY and record.id not in there):
            await sandbox_stop.to_not_ready(node, record)
        elif record.state is State.NOTREADY and not record.torn:
            await sandbox_stop.teardown(node, record)
            await lifecycle.change(node, record, torn=True)


async def _shim(node: Node, record: Sandbox, live: dict[str, int]) -> None:
    now = node.records.latest(record)
    if now is not None and now.state is State.READY and now.id not in live:
        await node.call(shimd.START_SHIM, shimd.StartShim(pod=now.id))


# What belongs to nothing


async def _orphans(node: Node, live: dict[str, int]) -> None:
    records = node.records
    stray = [pod for pod in live if pod not in records.sandboxes]
    await _each(_call_stop(node, pod) for pod in stray)
    layers = set(_names(f"{node.settings.root}/images/containers"))
    known = {name for one in records.containers.values() for name in (one.id, *one.volumes)}
    await _each(_discard(node, name) for name in layers - known)
    for name in set(_names(f"{node.settings.root}/volumes")) - records.containers.keys():
        await asyncio.to_thread(shutil.rmtree, node.volumes_dir(name), ignore_errors=True)
    attached = {one.id for one in records.sandboxes.values() if not one.torn and "net" in one.namespaces}
    await _each([asyncio.to_thread(node.network.reconcile, attached)])


async def _call_stop(node: Node, pod: str) -> None:
    await node.call(shimd.STOP_SHIM, shimd.StopShim(pod=pod))


async def _discard(node: Node, name: str) -> None:
    await node.call(images.DISCARD, images.Discard(container=name))


async def _tell_again(node: Node) -> None:
    """A change may have been written and its event lost with the process that was killed in between."""
    since = time.time_ns() - _NEWS
    everything: list[Sandbox | Container] = [*node.records.sandboxes.values(), *node.records.containers.values()]
    young = [(at, kind, one) for one in everything for kind, at in one.told.items() if at >= since]
    for at, kind, record in sorted(young, key=lambda one: one[0]):
        await node.publish(news.of(node, record, kind, at))


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
