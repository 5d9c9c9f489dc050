"""StartContainer: the executor makes the process; while that is set up, the shim takes its output and it is
told to run. Neither waits for the other: until the shim is there the keeper holds what was written."""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable
from typing import TypeVar, cast

import msgspec

from cribus import log
from cribus.api import executor, shim
from cribus.api.cri.container import StartContainerRequest, StartContainerResponse
from cribus.errors import Aborted, CribusError, DeadlineExceeded, FailedPrecondition, Unavailable
from cribus.manager import container_create, container_restore, container_stop, exits, lifecycle, podfiles
from cribus.manager.insisting import insisted
from cribus.manager.node import Node
from cribus.manager.nri.events import Event
from cribus.manager.records import Container, State
from cribus.steps import Step

_TRIES = 3
START_ERROR_CODE = 128  # exit code of a container whose program could not be started, as containerd's
P = TypeVar("P")
T = TypeVar("T")
_logger = logging.getLogger(__name__)
_PROCESS = Step("manager.start.process")
_GO = Step("manager.start.go")
_TAKE = Step("manager.start.take")


async def start(node: Node, request: StartContainerRequest) -> StartContainerResponse:
    """Run a created container.

    Raises FailedPrecondition when it is not one or its pod is not ready, and the executor's own
    error when its program cannot be started: the container has exited then, with reason StartError.
    """
    record = node.records.container(request.container_id)
    async with node.locks.of(record.id):
        record = node.records.container(record.id)
        if not await _done_before(node, record):
            _check(node, record)
            with log.ids(pod=record.pod, container=record.id):
                await _tried(node, record)
    return StartContainerResponse()


async def _done_before(node: Node, record: Container) -> bool:
    """Whether what is asked for is done: a container is started once, so one that runs was started by this request or
    by one that wanted the same. One that has ended may only be told to have been started to whom that is news: this is
    a request sent again before its answer came, or its client gave up before it, or it died with the gateway."""
    if record.state is not State.RUNNING:
        if not record.start_request or record.state in (State.CREATED, State.STARTING) or record.reason == "StartError":
            return False
        if record.start_request == log.current("request"):
            return True
        if not record.start_unclaimed and await node.listened(record.start_caller):
            return False
    await lifecycle.change(node, record, start_unclaimed=False, start_caller=log.current("caller"))
    return True


async def unheard(node: Node, answer: StartContainerResponse) -> None:
    """Nobody heard that the container runs: the next request to start it succeeds."""
    caller = log.current("caller")

    def started(record: Container) -> bool:
        return record.start_caller == caller and record.state in (*exits.ALIVE, State.EXITED)

    for record in list(node.records.containers.values()):
        if started(record):
            await lifecycle.change_if(node, record, started, start_unclaimed=True)


def _check(node: Node, record: Container) -> None:
    if record.state is not State.CREATED:
        raise FailedPrecondition(f"container {record.id} is {record.state}: only a created container can be started")
    pod = node.records.sandboxes.get(record.pod)
    if pod is None or pod.state is not State.READY:
        state = pod.state if pod else "gone"
        raise FailedPrecondition(f"pod {record.pod} is {state}: containers can be started in one that is ready")


async def _tried(node: Node, record: Container) -> None:
    """A process that is killed before it runs the container's program has a successor."""
    for left in reversed(range(_TRIES)):
        try:
            with node.exits.holding(record.id):
                await _start(node, record)
            return
        except Aborted:
            record = node.records.container(record.id)
            if not left or record.state is not State.CREATED:
                raise


async def _start(node: Node, record: Container) -> None:
    try:
        created = await _created(node, record)
        born = msgspec.structs.replace(record, pid=created.pid)
        await node.nri.ask(Event.START_CONTAINER, born)
        started_at = time.time_ns()
        await _gone(node, born)
    except Exception as error:
        await _failed(node, record, error)
        raise
    running = await lifecycle.move(node, record, State.RUNNING, pid=created.pid, started_at=started_at)
    await container_restore.started(node, running)
    await node.nri.tell(Event.POST_START_CONTAINER, running)
    over = node.exits.kept(record.id, running.pid)
    if over is not None:
        await exits.ended(node, running, over)
        node.exits.tell(record.id)


async def _gone(node: Node, record: Container) -> None:
    """Its program runs, and its shim has it. From here on it may have written something, so that bus or shim are
    just away is no reason to end it and run it once more."""
    go, take = await asyncio.gather(
        _done(_GO, record, insisted(lambda: node.call(executor.START, executor.Named(container=record.id)))),
        _done(_TAKE, record, node.call(shim.TAKE, taking(record), id=record.pod)),
        return_exceptions=True,
    )
    if isinstance(go, BaseException):
        raise go
    if isinstance(take, Unavailable | DeadlineExceeded):
        await insisted(lambda: node.call(shim.TAKE, taking(record), id=record.pod))
    elif isinstance(take, BaseException):
        raise take


async def _created(node: Node, record: Container) -> executor.Created:
    """Its first process; STARTING is durable by then. A terminal is there only once that is set up."""
    pod = node.records.sandboxes[record.pod]
    asked = {"start_request": log.current("request"), "start_caller": log.current("caller")}
    create = executor.Create(
        container=record.id, pod=record.pod, handler=pod.handler, restore=record.restore, early=not record.config.tty
    )
    _, made = await _both(
        lifecycle.move(node, record, State.STARTING, started_at=time.time_ns(), **asked),
        _done(_PROCESS, record, node.call(executor.CREATE, create)),
    )
    return made


async def _done(step: Step, record: Container, work: Awaitable[T]) -> T:
    with step.of(record.id):
        return await work


async def _both(first: Awaitable[P], second: Awaitable[T]) -> tuple[P, T]:
    """Side by side, each to its end, also when one fails: what is undone afterwards must not be half-way.

    Raises the first one's failure before the second's.
    """
    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return cast(tuple[P, T], tuple(outcomes))


def taking(record: Container) -> shim.Take:
    """What its pod's shim is told."""
    return shim.Take(
        container=record.id,
        pod=record.pod,
        pid=record.pid,
        log_path=record.log_path,
        tty=record.config.tty,
        stdin=record.config.stdin,
        stdin_once=record.config.stdin_once,
        marked=True,
    )


async def _failed(node: Node, record: Container, error: Exception) -> None:
    """Nothing of the attempt is left. When the cause was that a service was away, or that somebody killed
    what was to become the container, nothing ran, and the container is as before; else it has exited."""
    try:
        if isinstance(error, (Unavailable, Aborted)):
            await as_created(node, record)
            return
        await container_stop.release(node, record)
    except CribusError as later:
        # Stop and remove do the same again.
        _logger.warning("a failed start is not cleared yet", extra={"cause": later.message})
    now = node.records.latest(record)
    if now is None or now.state is not State.STARTING:
        return
    await lifecycle.move(
        node,
        now,
        State.EXITED,
        exit_code=START_ERROR_CODE,
        finished_at=time.time_ns(),
        reason="StartError",
        message=error.message if isinstance(error, CribusError) else str(error),
    )
    node.exits.tell(record.id)


async def as_created(node: Node, record: Container) -> None:
    """Undo a start that did not get as far as running anything: the container is created again."""
    path = f"{node.container_dir(record.id)}/config.json"
    spec = podfiles.read(path)
    await container_stop.release(node, record)
    if spec:
        os.makedirs(node.container_dir(record.id), 0o711, exist_ok=True)
        podfiles.write_atomic(path, spec, 0o600)
    else:  # it went with the run directory under a manager that was killed just then
        fresh = msgspec.structs.replace(record, started_at=0, start_request="", start_caller="")
        await container_create.set_up(node, fresh, node.records.sandbox(record.pod))
    now = node.records.latest(record)
    if now is not None and now.state is State.STARTING:
        await lifecycle.move(node, now, State.CREATED, started_at=0, start_request="", start_caller="")
