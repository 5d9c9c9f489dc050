"""At start: records, what the executor sees running, and what lies on disk are made to agree.

Half-done operations are finished through the same teardown that requests use. What has no record gets
one from what is kept of it on disk (kept.py); only what has neither is torn down. Lost records are
therefore no reason to end anything.
"""

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from cribus.api import executor, images, shim, shimd
from cribus.api.verb import Empty
from cribus.kept import whole
from cribus.manager import (
    container_checkpoint,
    container_create,
    container_remove,
    container_restore,
    container_start,
    exits,
    lifecycle,
    news,
    podfiles,
    sandbox_remove,
    sandbox_run,
    sandbox_stop,
)
from cribus.manager.insisting import insisted
from cribus.manager.node import Node
from cribus.manager.records import Container, Sandbox, State

_AT_ONCE = 16
_EACH = 60.0  # seconds that one pod or container may take; it stays as it is then, for a later request
_SERVICES = 120.0  # seconds that the services below may need to come up
_NEWS = 300 * 10**9  # ns: changes younger than this are told again; the stream drops repeats
_logger = logging.getLogger(__name__)


async def reconcile(node: Node) -> Callable[[], Awaitable[None]]:
    """Make everything agree that a client can see. What it answers is to be awaited beside the first
    requests: that every pod has its shim. Raises Unavailable when the executor or shimd do not come up."""
    began = time.monotonic()
    asked = (
        node.call(executor.STATES, Empty(), timeout=_SERVICES),
        node.call(shimd.LIST_SHIMS, Empty(), timeout=_SERVICES),
    )
    seen, shims, _ = await asyncio.gather(*asked, _tell_again(node))
    states = {one.container: one for one in seen.containers}
    await _rebuild(node, seen.pods, states)
    for one in node.records.containers.values():
        try:
            _restore_spec(node, one)
        except OSError:
            _logger.exception("its runtime-spec is not restored", extra={"container": one.id})
    containers = [one for one in node.records.containers.values() if not _runs(node, one, states.get(one.id))]
    await _each(_container(node, one, states) for one in containers)
    there = {one.pod for one in seen.containers if one.status != "stopped"} | set(seen.pods) - set(seen.dead)
    await _each(_pod(node, one, there) for one in node.records.sandboxes.values() if not _stands(node, one, there))
    await _orphans(node, [*shims.pids, *shims.waiting], set(states))
    counts = {"pods": len(node.records.sandboxes), "containers": len(node.records.containers)}
    _logger.info("records agree", extra={**counts, "seconds": round(time.monotonic() - began, 3)})
    return lambda: _shims(node, shims, states)


async def _shims(node: Node, shims: shimd.Shims, states: dict[str, executor.State]) -> None:
    """Those that shimd starts anyway need a word only where they have something new to take. One that we start may not
    know what those before it had: their pod's directory was lost."""
    for pod in shims.waiting[:1]:
        await _each([_shim(node, pod, {})])  # the sign that we answer, and that the others may start
    live = shims.pids | dict.fromkeys(shims.waiting, 0)
    fresh = node.records.sandboxes.keys() - live.keys()
    await _each(_shim(node, pod, live) for pod in fresh)
    known = [one for one in node.records.containers.values() if one.id in states]
    lost = [one for one in known if not _taken(node, one) or (one.pod in fresh and one.started_at)]
    await _each(_take(node, one.id, states[one.id].pid) for one in lost)


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
    """Pods before containers: a container whose pod is not known is nobody's."""
    kept = node.kept.ids()
    ids = [*kept, *pods, *states, *podfiles.listed(f"{node.settings.run}/containers")]
    recorded = node.records.sandboxes | node.records.containers
    lost = [id for id in dict.fromkeys(ids) if id not in recorded]
    found = {id: record for id in lost if (record := _kept(node, id)) is not None}
    for kind in (Sandbox, Container):
        await _each(_begin(node, one) for one in found.values() if isinstance(one, kind))
    recorded = node.records.sandboxes | node.records.containers
    await _each(_nobodys(node, id, pods) for id in lost if id not in recorded)
    for record in (node.records.sandboxes | node.records.containers).values():
        if record.id not in kept:
            _keep(node, record)


async def _begin(node: Node, record: Sandbox | Container) -> None:
    if isinstance(record, Sandbox) or record.pod in node.records.sandboxes:
        _logger.warning("no record: rebuilt", extra={lifecycle.noun(record): record.id})
        await lifecycle.begin(node, record)


async def _nobodys(node: Node, id: str, pods: list[str]) -> None:
    _logger.warning("neither a record nor a copy of one: torn down", extra={"id": id})
    if id in pods:
        await sandbox_stop.teardown(node, Sandbox(id=id))
    else:
        await container_remove.teardown(node, Container(id=id, pod="", started_at=1))
    node.kept.drop(id)


def _kept(node: Node, id: str) -> Sandbox | Container | None:
    """A container says in which pod it is; nothing else tells the two apart."""
    data = node.kept.record(id)
    try:
        record: Sandbox | Container = msgspec.json.decode(data, type=Container)
    except msgspec.MsgspecError:
        try:
            record = msgspec.json.decode(data, type=Sandbox)
        except msgspec.MsgspecError:
            return None
    return record if record.id == id else None


def _keep(node: Node, record: Sandbox | Container) -> None:
    """Of an earlier version, or lost."""
    if isinstance(record, Sandbox) and record.state is State.READY:
        node.kept.put(record.id, msgspec.json.encode(record))
    elif isinstance(record, Container) and record.state is not State.CREATING:
        node.kept.put(record.id, msgspec.json.encode(record), _spec(node, record))


def _spec(node: Node, record: Container) -> bytes:
    return _read(f"{node.container_dir(record.id)}/config.json")


def _read(path: str) -> bytes:
    """Empty when it is not there, or spoilt."""
    try:
        with open(path, "rb") as file:
            return whole(file.read())
    except FileNotFoundError:
        return b""


# What has one


def _runs(node: Node, record: Container, state: executor.State | None) -> bool:
    """As its record says, like nearly all of them: then nothing is to be done."""
    as_recorded = record.state is State.RUNNING and state is not None and state.status == "running"
    return as_recorded and record.pod in node.records.sandboxes


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


def _restore_spec(node: Node, record: Container) -> None:
    """The runtime-spec in the run directory, where it was lost or spoilt; what was not started needs it to."""
    if record.state not in (State.CREATED, State.STARTING, *exits.ALIVE) or _spec(node, record):
        return
    spec = node.kept.spec(record.id)
    if spec:
        os.makedirs(node.container_dir(record.id), 0o711, exist_ok=True)
        podfiles.write_atomic(f"{node.container_dir(record.id)}/config.json", spec, 0o600)


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
    record = node.records.latest(record) or record  # a shim may have told its end just now
    started = state.started_at or record.started_at or time.time_ns()
    if record.state is State.CREATED:  # rebuilt from its copy, which is from before its start
        record = await lifecycle.move(node, record, State.STARTING, started_at=started)
    if record.state is State.STARTING:
        record = await lifecycle.move(node, record, State.RUNNING, pid=state.pid, started_at=started)
    if state.status == "stopped":
        await exits.took(node, exits.of_state(state))


def _stands(node: Node, record: Sandbox, there: set[str]) -> bool:
    """Of a pod the same as `_runs` of a container."""
    ready = record.state is State.READY and record.id in there
    return ready and os.path.exists(f"{node.pod_dir(record.id)}/hosts")


async def _pod(node: Node, record: Sandbox, there: set[str]) -> None:
    async with node.locks.of(record.id):
        if record.state is State.CREATING:
            await sandbox_run.undo(node, record, "its making was cut short")
        elif record.state is State.REMOVING or _failed(record):
            await sandbox_remove.to_nothing(node, record)
        elif record.state is State.STOPPING or (record.state is State.READY and record.id not in there):
            await sandbox_stop.to_not_ready(node, record)
        elif record.state is State.NOTREADY and not record.torn:
            await sandbox_stop.teardown(node, record)
            await lifecycle.change(node, record, torn=True)
        elif record.state is State.READY and not _stands(node, record, there):
            sandbox_run.write_files(node, record)


def _failed(record: Sandbox) -> bool:
    """Whether it is what is left of a pod that did not come to be, and that could not be undone at once."""
    return record.state is State.NOTREADY and not record.name


async def _shim(node: Node, pod: str, live: dict[str, int]) -> None:
    async with node.locks.of(pod):
        now = node.records.sandboxes.get(pod)
        if now is not None and now.state is State.READY and now.id not in live:
            await node.call(shimd.START_SHIM, shimd.StartShim(pod=now.id))


def _taken(node: Node, record: Container) -> bool:
    """Whether its pod's shim knows of it; what has ended too, as its last words may be in the pipes."""
    return not record.started_at or bool(_read(f"{node.container_dir(record.id)}/{shim.TAKEN}"))


async def _take(node: Node, id: str, pid: int) -> None:
    async with node.locks.of(id):
        now = node.records.containers.get(id)
        if now is None or now.state not in (*exits.ALIVE, State.EXITED):
            return
        pod = node.records.sandboxes.get(now.pod)
        if pod is not None and pod.state is State.READY:
            await node.call(shimd.START_SHIM, shimd.StartShim(pod=pod.id))  # it may just be coming up
            wanted = container_start.taking(msgspec.structs.replace(now, pid=pid))
            await insisted(lambda: node.call(shim.TAKE, wanted, id=pod.id))


# What belongs to nothing


async def _orphans(node: Node, shims: list[str], run: set[str]) -> None:
    records = node.records
    stray = [pod for pod in shims if pod not in records.sandboxes]
    await _each(_call_stop(node, pod) for pod in stray)
    layers = set(podfiles.listed(f"{node.settings.root}/images/containers"))
    known = {name for one in records.containers.values() for name in (one.id, *one.volumes)}
    await _each(_discard(node, name) for name in layers - known - run)
    for name in set(podfiles.listed(container_restore.home(node))) - records.containers.keys():
        await container_restore.forget(node, name)
    for name in podfiles.listed(container_checkpoint.home(node)):
        await asyncio.to_thread(shutil.rmtree, f"{container_checkpoint.home(node)}/{name}", ignore_errors=True)
    for name in set(podfiles.listed(f"{node.settings.root}/volumes")) - records.containers.keys():
        await asyncio.to_thread(shutil.rmtree, node.volumes_dir(name), ignore_errors=True)
    attached = {one.id for one in records.sandboxes.values() if not one.torn and "net" in one.namespaces}
    await _each([asyncio.to_thread(node.network.reconcile, attached)])


async def _call_stop(node: Node, pod: str) -> None:
    await node.call(shimd.STOP_SHIM, shimd.StopShim(pod=pod))


async def _discard(node: Node, name: str) -> None:
    await node.call(images.DISCARD, images.Discard(container=name))


async def _tell_again(node: Node) -> None:
    """A change may have been written and its event lost with the process that was killed in between."""
    now = time.time_ns()
    everything: list[Sandbox | Container] = [*node.records.sandboxes.values(), *node.records.containers.values()]
    young = [(at, kind, one) for one in everything for kind, at in one.told.items() if now - _NEWS <= at <= now]
    for at, kind, record in sorted(young, key=lambda one: one[0]):
        await node.publish(news.of(node, record, kind, at))
