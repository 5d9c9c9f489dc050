"""The life of a container: create, start, kill, delete, pause, resume, update.

Each verb agrees with what it finds: repeated, or after a crash at any point, it ends where it would have.
"""

import asyncio
import contextlib
import json
import logging
import os
import time
from typing import Any

from cribus import errors
from cribus.api.executor import Create, Created, Kill, Named, Resources
from cribus.api.verb import Empty
from cribus.executor import ending, keepers, state
from cribus.executor.node import Held, Node
from cribus.executor.plan import build, devices
from cribus.executor.runtimes import native
from cribus.executor.state import Record
from cribus.linux import files, process
from cribus.steps import Step

_SIGKILL = 9
_logger = logging.getLogger(__name__)
_INTENT = Step("executor.create.intent")
_CGROUP = Step("executor.create.cgroup")
_LIMITS = Step("executor.create.limits")
_PROCESS = Step("executor.create.process")
_READY = Step("executor.create.ready")
_GONE = Step("executor.start.executed")
_STARTED = Step("executor.start.noted")
_SENT = Step("executor.kill.sent")
_EMPTIED = Step("executor.delete.emptied")
_KILLED = Step("executor.delete.killed")
_TOLD_KEEPER = Step("executor.delete.keeper")
_NO_CGROUP = Step("executor.delete.cgroup")
_REMOVED = Step("executor.delete.removed")


async def create(node: Node, request: Create) -> Created:
    """Keeper and init up to the barrier."""
    async with node.alone(request.container):
        bundle = node.bundle(request.container)
        before = state.load(bundle)
        if before is not None and before.ready:
            return Created(pid=before.pid, started=before.started, keeper=before.keeper)
        spec = _spec(bundle)
        if before is not None:
            await _unmake(node, before)
        cgroup = node.tree.spec_path(spec.get("linux", {}).get("cgroupsPath", ""), request.container)
        record = Record(container=request.container, pod=request.pod, handler=request.handler, cgroup=cgroup)
        with _INTENT.of(request.container):
            state.save(bundle, record)  # from here on a crash leaves what teardown finds
        try:
            record = await _make(node, record, spec)
        except BaseException:
            await asyncio.shield(_unmake(node, record))
            raise
        return Created(pid=record.pid, started=record.started, keeper=record.keeper)


def _spec(bundle: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(files.read(f"{bundle}/config.json"))
    except FileNotFoundError as error:
        raise errors.NotFound(f"{bundle}/config.json is missing; write the container's runtime-spec first") from error
    except ValueError as error:
        raise errors.InvalidArgument(f"{bundle}/config.json is no JSON: {error}") from error
    return found


async def _make(node: Node, record: Record, spec: dict[str, Any]) -> Record:
    bundle = node.bundle(record.container)
    plan = build.build(spec, build.Place(bundle, record.cgroup, node.tree.join_self_paths(record.cgroup)), node.host)
    with _CGROUP.of(record.container):
        node.tree.create(record.cgroup)
    with _LIMITS.of(record.container):
        node.tree.apply(record.cgroup, _resources(spec))
    os.makedirs(f"{bundle}/rootfs", exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkfifo(f"{bundle}/{state.FIFO}", 0o600)
    with _PROCESS.of(record.container):
        made = await native.create(node, bundle, spec, plan)
    node.hold(record.container, made.held)
    for text in made.warnings:
        _logger.warning("container set up with less", extra={"container": record.container, "cause": text})
    if node.tree.driver == "systemd":
        await asyncio.to_thread(node.tree.register, record.cgroup, made.pid)
    with _READY.of(record.container):
        return state.changed(
            bundle,
            record,
            ready=True,
            created_at=time.time_ns(),
            pid=made.pid,
            started=process.start_time(made.pid),
            keeper=made.keeper,
            keeper_started=process.start_time(made.keeper),
        )


def _resources(spec: dict[str, Any]) -> dict[str, Any]:
    given = (spec.get("linux") or {}).get("resources") or {}
    terminal = bool((spec.get("process") or {}).get("terminal"))
    return {**given, "devices": devices.allowed(given.get("devices") or [], terminal=terminal)}


async def start(node: Node, request: Named) -> Empty:
    """Let init execute the container's program. Raises what the kernel said when it cannot."""
    async with node.alone(request.container):
        bundle = node.bundle(request.container)
        record = _known(node, request.container)
        status = state.read(node, request.container).status
        if status == "stopped" and not record.started_at:
            raise errors.FailedPrecondition(f"container {request.container} has ended and cannot be started again")
        if status == "creating":
            raise errors.FailedPrecondition(f"container {request.container} is not completely created; create it first")
        if not record.started_at:
            with _GONE.of(request.container):
                await native.start(await _held(node, request.container), bundle)
            with _STARTED.of(request.container):
                state.changed(bundle, record, started_at=time.time_ns())
    return Empty()


def _known(node: Node, container: str) -> Record:
    record = state.load(node.bundle(container))
    if record is None:
        raise errors.NotFound(f"container {container} is not known to the executor; create it first")
    return record


async def _held(node: Node, container: str) -> Held:
    """What was kept since the creation, or, after a restart, the keeper's copies."""
    if container not in node.held:
        found = await keepers.get(node.bundle(container))
        pidfd, sync = found.pop("pidfd", -1), found.pop("sync", -1)
        for fd in found.values():
            os.close(fd)
        if pidfd < 0 or sync < 0:
            for fd in (pidfd, sync):
                if fd >= 0:
                    os.close(fd)
            raise errors.FailedPrecondition(f"the keeper of container {container} has gone; delete and create it")
        node.hold(container, Held(pidfd, sync))
    return node.held[container]


async def adopt(node: Node) -> None:
    """After a restart: keep a pidfd of every container that runs, to be a witness of its exit."""
    for one in state.every(node).containers:
        if one.status not in ("creating", "stopped"):
            try:
                await _held(node, one.container)
            except errors.FailedPrecondition as error:
                _logger.warning("no second witness", extra={"container": one.container, "cause": error.message})


async def kill(node: Node, request: Kill) -> Empty:
    """Signal init, or everybody. One that has ended already is no error."""
    record = _known(node, request.container)
    with _SENT.of(request.container):
        _send(node, record, request)
    return Empty()


def _send(node: Node, record: Record, request: Kill) -> None:
    if request.all and request.signal == _SIGKILL:
        node.tree.kill(record.cgroup)
    elif request.all:
        for pid in node.tree.pids(record.cgroup):
            _signal(pid, process.start_time(pid), request.signal)
    else:
        _signal(record.pid, record.started, request.signal)
        if request.signal == _SIGKILL and node.tree.frozen(record.cgroup):
            node.tree.thaw(record.cgroup)  # the frozen do not die


def _signal(pid: int, started: int, number: int) -> None:
    try:
        pidfd = process.pidfd_open(pid) if pid else -1
    except ProcessLookupError:
        return
    if pidfd < 0:
        return
    try:
        if process.start_time(pid) == started:
            with contextlib.suppress(ProcessLookupError):
                process.pidfd_send_signal(pidfd, number)
    except OSError as error:
        raise errors.InvalidArgument(f"signal {number} cannot be sent: {error.strerror}") from error
    finally:
        os.close(pidfd)


async def delete(node: Node, request: Named) -> Empty:
    """Kill what runs, remove cgroup and run directory. From every state; content with nothing."""
    async with node.alone(request.container):
        bundle = node.bundle(request.container)
        record = state.load(bundle)
        if record is not None:
            await _unmake(node, record)
        with _REMOVED.of(request.container):
            node.remove(bundle)
    return Empty()


async def _unmake(node: Node, record: Record) -> None:
    """The one teardown: after a failure, before a repeat, and for delete."""
    bundle = node.bundle(record.container)
    with _EMPTIED.of(record.container):
        await ending.empty_cgroup(node, record.cgroup)
    with _KILLED.of(record.container):
        await _kill_init(node, record, bundle)
    node.let_go(record.container)
    with _TOLD_KEEPER.of(record.container):
        await keepers.end(bundle)
    if not await keepers.gone(bundle, ending.DEADLINE):
        await ending.kill(record.keeper, record.keeper_started)
        await keepers.gone(bundle, 1.0)
    await ending.empty_cgroup(node, record.cgroup)
    with _NO_CGROUP.of(record.container):
        await asyncio.to_thread(node.tree.delete, record.cgroup)


async def _kill_init(node: Node, record: Record, bundle: str) -> None:
    """Also one that has not yet joined its cgroup: its keeper knows it."""
    if record.pid:
        if not await ending.kill(record.pid, record.started):
            raise errors.DeadlineExceeded(f"process {record.pid} of {record.container} was killed but does not end")
        return
    found = await keepers.get(bundle)
    try:
        if "pidfd" in found:
            with contextlib.suppress(ProcessLookupError):
                process.pidfd_send_signal(found["pidfd"], _SIGKILL)
    finally:
        for fd in found.values():
            os.close(fd)


async def pause(node: Node, request: Named) -> Empty:
    """Stop all its processes where they stand."""
    record = _running(node, request.container)
    await asyncio.to_thread(node.tree.freeze, record.cgroup)
    return Empty()


async def resume(node: Node, request: Named) -> Empty:
    """Let them go on."""
    record = _running(node, request.container)
    await asyncio.to_thread(node.tree.thaw, record.cgroup)
    return Empty()


def _running(node: Node, container: str) -> Record:
    record = _known(node, container)
    if not state.alive(record):
        raise errors.FailedPrecondition(f"container {container} does not run")
    return record


async def update(node: Node, request: Resources) -> Empty:
    """Change limits; what is not named stays."""
    record = _running(node, request.container)
    await asyncio.to_thread(node.tree.apply, record.cgroup, dict(request.resources))
    return Empty()
