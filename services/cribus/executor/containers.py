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
from cribus.api.executor import Checkpoint, Create, Created, Kill, Named, Resources
from cribus.api.verb import Empty
from cribus.executor import ending, found, hooks, keepers, state
from cribus.executor.criu import dump
from cribus.executor.criu.restore import Restored
from cribus.executor.node import Node
from cribus.executor.plan import hooks as planned
from cribus.executor.runtimes import command, external
from cribus.executor.runtimes.external import External
from cribus.executor.runtimes.native import Native
from cribus.executor.runtimes.runtime import Runtime
from cribus.executor.state import Record
from cribus.keeper import EXIT
from cribus.linux import files, process
from cribus.steps import Step

_SIGKILL = 9
_NATIVE, _EXTERNAL, _RESTORED = Native(), External(), Restored()
_logger = logging.getLogger(__name__)
_INTENT = Step("executor.create.intent")
_PROCESS = Step("executor.create.process")
_READY = Step("executor.create.ready")
_MARKED = Step("executor.start.marked")
_GONE = Step("executor.start.executed")
_STARTED = Step("executor.start.noted")
_SENT = Step("executor.kill.sent")
_EMPTIED = Step("executor.delete.emptied")
_KILLED = Step("executor.delete.killed")
_TOLD_KEEPER = Step("executor.delete.keeper")
_CLEARED = Step("executor.delete.cleared")
_NO_CGROUP = Step("executor.delete.cgroup")
_REMOVED = Step("executor.delete.removed")


async def create(node: Node, request: Create) -> Created:
    """Keeper and init up to the barrier, or only until they are there when `early`. Raises Aborted when the
    container is deleted meanwhile."""
    known: asyncio.Future[Created] = asyncio.get_running_loop().create_future()
    setup = asyncio.create_task(_create(node, request, known))
    setup.add_done_callback(_retrieved)
    node.setups[request.container] = setup
    enough = {setup, known} if request.early else {setup}
    try:
        await asyncio.wait(enough, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        setup.cancel()
        raise
    finally:
        if not request.early:
            _forget(node, request.container, setup)
    return known.result() if request.early and known.done() else await _set_up(setup)


def _forget(node: Node, container: str, setup: "asyncio.Task[Created]") -> None:
    if node.setups.get(container) is setup:
        del node.setups[container]


async def _set_up(setup: "asyncio.Task[Created]") -> Created:
    await asyncio.wait({setup})
    if setup.cancelled():
        raise errors.Aborted("the container was deleted while it was set up; create it again")
    return setup.result()


def _retrieved(setup: asyncio.Task[Created]) -> None:
    """Whoever starts the container is told why it failed; nobody may."""
    if not setup.cancelled():
        setup.exception()


async def _create(node: Node, request: Create, known: asyncio.Future[Created]) -> Created:
    async with node.alone(request.container):
        bundle = node.bundle(request.container)
        before = state.load(bundle)
        if before is not None and before.ready:
            return Created(pid=before.pid, started=before.started, keeper=before.keeper)
        spec = _spec(bundle)
        if before is not None:
            await _unmake(node, before)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{bundle}/{EXIT}")  # of a process that never was the container
        record = _intended(node, request, spec)
        try:
            with _INTENT.of(request.container):
                state.save(bundle, record)  # from here on a crash leaves what teardown finds
            record = await _make(node, record, spec, known)
        except BaseException as error:
            await _undone(node, state.load(bundle) or record)
            if isinstance(error, Exception):
                _spec(bundle)  # whatever failed, it did because this was taken away, where it was
            raise
        return Created(pid=record.pid, started=record.started, keeper=record.keeper)


async def _undone(node: Node, record: Record) -> None:
    """To its end, also where who asked gives up meanwhile: nobody may begin anything with it before."""
    work = asyncio.ensure_future(_unmake(node, record))
    while not work.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({work})
    work.result()


def _intended(node: Node, request: Create, spec: dict[str, Any]) -> Record:
    runtime = command.program(node, request.handler)
    return Record(
        container=request.container,
        pod=request.pod,
        handler=request.handler,
        runtime=runtime,
        restore=request.restore,
        hooks=[] if runtime else planned.later(spec),  # an outside runtime runs its hooks itself
        cgroup=node.tree.spec_path(spec.get("linux", {}).get("cgroupsPath", ""), request.container),
    )


def _spec(bundle: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(files.read(f"{bundle}/config.json"))
    except FileNotFoundError as error:
        raise errors.NotFound(f"{bundle}/config.json is missing; write the container's runtime-spec first") from error
    except ValueError as error:
        raise errors.InvalidArgument(f"{bundle}/config.json is no JSON: {error}") from error
    return found


async def _make(node: Node, record: Record, spec: dict[str, Any], known: asyncio.Future[Created]) -> Record:
    bundle = node.bundle(record.container)
    there = record

    def born(pid: int, keeper: int) -> None:
        nonlocal there
        there = state.changed(bundle, record, **_processes(pid, keeper))
        known.set_result(Created(pid=pid, started=there.started, keeper=keeper))

    with _PROCESS.of(record.container):
        made = await _runtime(record).create(node, record, spec, born)
    node.hold(record.container, made.held)
    for text in made.warnings:
        _logger.warning("container set up with less", extra={"container": record.container, "cause": text})
    with _READY.of(record.container):
        processes = {} if known.done() else _processes(made.pid, made.keeper)
        return state.changed(bundle, there, ready=True, created_at=time.time_ns(), **processes)


def _processes(pid: int, keeper: int) -> dict[str, int]:
    return {
        "pid": pid,
        "started": process.start_time(pid),
        "keeper": keeper,
        "keeper_started": process.start_time(keeper),
    }


def _runtime(record: Record) -> Runtime:
    if record.runtime:
        return _EXTERNAL
    return _RESTORED if record.restore else _NATIVE


async def start(node: Node, request: Named) -> Empty:
    """Let init execute the container's program, once it is set up. Raises why that failed, or what the
    kernel said when it cannot."""
    setup = node.setups.get(request.container)
    if setup is not None:  # it stays there until it is over, for who deletes the container
        try:
            await _set_up(setup)
        finally:
            if setup.done():
                _forget(node, request.container, setup)
    async with node.alone(request.container):
        bundle = node.bundle(request.container)
        record = await found.known(node, request.container)
        if state.read(node, request.container).status == "creating":
            raise errors.Aborted(f"the executor that set {record.container} up was killed; repeat")
        if not record.started_at:
            await _let_go(node, record)
            if "poststart" in record.hooks:
                await _poststart(node, record)
            with _STARTED.of(request.container):
                state.changed(bundle, record, started_at=time.time_ns())
    return Empty()


async def _let_go(node: Node, record: Record) -> None:
    """What an executor that was killed has let go runs, or has run: it is not started twice."""
    bundle = node.bundle(record.container)
    if not state.may_have_run(bundle):
        if state.alive(record):
            with _MARKED.of(record.container):
                state.allow(bundle, record)
        if not state.alive(record):  # its shim may have seen the end before the mark
            raise errors.Aborted(f"the first process of {record.container} was killed before it was started; repeat")
    elif not await _tells(node, record):
        return
    with _GONE.of(record.container):
        await _runtime(record).start(node, record)


async def _tells(node: Node, record: Record) -> bool:
    """Whether it can still be asked what came of a start that was begun."""
    if record.runtime:
        return state.alive(record)
    try:
        await keepers.held(node, record.container)
    except errors.FailedPrecondition:
        return False
    return True


async def _poststart(node: Node, record: Record) -> None:
    """One that fails is the container's end."""
    spec, bundle = _spec(node.bundle(record.container)), node.bundle(record.container)
    now = {**planned.base(spec, record.container, bundle), "status": "running", "pid": record.pid}
    try:
        await hooks.run(node, planned.of(spec, "poststart"), now)
    except errors.FailedPrecondition:
        _sigkill(node, record, everyone=True)
        raise


async def adopt(node: Node) -> None:
    """After a restart: find what runs, whatever became of its directory, and ask about those whose start
    nobody wrote down."""
    await found.restore_all(node)
    for container in state.names(node):
        record = state.load(node.bundle(container))
        if record is not None and record.runtime and record.ready and not record.started_at and state.alive(record):
            await _ask_whether_started(node, record)


async def witness(node: Node) -> None:
    """Keep a pidfd of everything that runs, to know of its exit. Runs as a task."""
    for container in state.names(node):
        async with node.alone(container):
            record = state.load(node.bundle(container))
            if record is None or not record.ready or not state.alive(record):
                continue
            try:
                await keepers.held(node, container)
            except errors.FailedPrecondition as error:
                _logger.warning("no second witness", extra={"container": container, "cause": error.message})


async def _ask_whether_started(node: Node, record: Record) -> None:
    """Of the built-in runtime the barrier tells; an outside one has to be asked."""
    try:
        status = await external.status(node, record)
    except errors.CribusError as error:
        _logger.warning("its runtime does not tell", extra={"container": record.container, "cause": error.message})
        return
    if status == "running":
        state.changed(node.bundle(record.container), record, started_at=time.time_ns())


async def kill(node: Node, request: Kill) -> Empty:
    """Signal init, or everybody. One that has ended already is no error."""
    record = await found.known(node, request.container)
    with _SENT.of(request.container):
        await _send(node, record, request)
    return Empty()


async def _send(node: Node, record: Record, request: Kill) -> None:
    if request.signal == _SIGKILL:
        _sigkill(node, record, everyone=request.all)
    elif request.all:
        for pid in node.tree.pids(record.cgroup):
            ending.signal(pid, process.start_time(pid), request.signal)
    else:
        await _runtime(record).signal(node, record, request.signal)


def _sigkill(node: Node, record: Record, *, everyone: bool) -> None:
    """What no runtime needs to be asked for, and none can hang in."""
    if everyone:
        node.tree.kill(record.cgroup)
    ending.signal(record.pid, record.started, _SIGKILL)
    if node.tree.frozen(record.cgroup):
        node.tree.thaw(record.cgroup)  # the frozen do not die


async def delete(node: Node, request: Named) -> Empty:
    """Kill what runs, remove cgroup and run directory. From every state; content with nothing. A creation that is
    under way is given up: what it waits for may never come."""
    setup = node.setups.pop(request.container, None)
    if setup is not None:
        setup.cancel()
    async with node.alone(request.container):
        bundle = node.bundle(request.container)
        record = state.load(bundle)
        if record is None and request.container in node.held:  # it ran, and nobody has deleted it
            record = await found.restore(node, request.container)
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
        if record.pid and not await ending.kill(record.pid, record.started):
            raise errors.DeadlineExceeded(f"process {record.pid} of {record.container} was killed but does not end")
    node.let_go(record.container)
    with _TOLD_KEEPER.of(record.container):
        await keepers.end(bundle, dead=bool(record.pid))
    with _CLEARED.of(record.container):
        await _runtime(record).clear(node, record)
    await ending.empty_cgroup(node, record.cgroup)
    with _NO_CGROUP.of(record.container):
        await asyncio.to_thread(node.tree.delete, record.cgroup)
    if "poststop" in record.hooks:
        await _poststop(node, record)


async def _poststop(node: Node, record: Record) -> None:
    """They run at least once: again where an executor was killed before their container's directory was gone."""
    bundle = node.bundle(record.container)
    try:
        spec = _spec(bundle)
    except errors.NotFound as error:
        _logger.warning("its hooks are not known", extra={"container": record.container, "cause": error.message})
        return
    now = {**planned.base(spec, record.container, bundle), "status": "stopped", "pid": 0}
    await hooks.run_all(node, planned.of(spec, "poststop"), now)
    state.changed(bundle, record, hooks=[])


async def pause(node: Node, request: Named) -> Empty:
    """Stop all its processes where they stand."""
    record = await _running(node, request.container)
    await _runtime(record).pause(node, record)
    return Empty()


async def resume(node: Node, request: Named) -> Empty:
    """Let them go on, once nobody writes them down any more."""
    record = await _running(node, request.container)
    await dump.over(node.bundle(request.container))
    await _runtime(record).resume(node, record)
    return Empty()


async def checkpoint(node: Node, request: Checkpoint) -> Empty:
    """Have a paused container written down. Raises FailedPrecondition where the host or the container does not
    allow it, with the reason."""
    async with node.alone(request.container):
        record = await _running(node, request.container)
        if not node.tree.frozen(record.cgroup):
            raise errors.FailedPrecondition(f"container {request.container} is not paused; pause it first")
        await dump.over(node.bundle(request.container))
        await dump.dump(node, record, _spec(node.bundle(request.container)), request.folder)
    return Empty()


async def _running(node: Node, container: str) -> Record:
    record = await found.known(node, container)
    if not state.alive(record):
        raise errors.FailedPrecondition(f"container {container} does not run")
    return record


async def update(node: Node, request: Resources) -> Empty:
    """Change limits; what is not named stays."""
    record = await _running(node, request.container)
    await _runtime(record).update(node, record, dict(request.resources))
    return Empty()
