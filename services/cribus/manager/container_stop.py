"""StopContainer: the stop signal, time to obey it, then SIGKILL. And the end of a container's
processes as the one teardown of its pod wants it."""

import asyncio
import logging
import signal

import msgspec

from cribus.api import executor, shim
from cribus.api.cri.container import StopContainerRequest, StopContainerResponse
from cribus.errors import DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument, NotFound, Unavailable
from cribus.manager import exits, lifecycle, signals
from cribus.manager.node import Node
from cribus.manager.records import Container, State
from cribus.steps import Step

_SIGNAL = Step("manager.stop.signal")
_KILL = Step("manager.stop.kill")
_RELEASE = Step("manager.stop.release")
_DELETE = Step("manager.stop.delete")

# Seconds to wait for the exit after each SIGKILL; the executor is asked in between.
_AFTER_KILL = (1.0, 3.0, 6.0)
_logger = logging.getLogger(__name__)


async def stop(node: Node, request: StopContainerRequest) -> StopContainerResponse:
    """End a container; `timeout` seconds after its stop signal by force. Idempotent: one that is not
    running, or not there, is stopped."""
    try:
        record = node.records.container(request.container_id)
    except NotFound:
        return StopContainerResponse()
    async with node.locks.of(record.id):  # a start that is under way ends first
        record = node.records.latest(record) or record
        if record.state is State.RUNNING:
            record = await _stopping(node, record)
    if record.state in exits.ALIVE:
        await _to_the_end(node, record, request.timeout)
    await node.nri.settled(record.id)
    return StopContainerResponse()


async def evict(node: Node, id: str, reason: str) -> None:
    """An NRI plugin wants the container ended."""
    _logger.warning("evicted", extra={"container": id, "reason": reason})
    await stop(node, StopContainerRequest(container_id=id))


async def _stopping(node: Node, record: Container) -> Container:
    try:
        return await lifecycle.move(node, record, State.STOPPING)
    except FailedPrecondition:  # it ended by itself meanwhile
        return node.records.latest(record) or record


async def _to_the_end(node: Node, record: Container, grace: int) -> None:
    if grace > 0:
        end = asyncio.get_running_loop().time() + grace
        try:
            await _asked_once(node, record)
        except (Internal, InvalidArgument, DeadlineExceeded) as error:
            # An outside runtime that fails or hangs has the time that the container would have had, no more.
            _logger.warning("its stop signal was not sent", extra={"container": record.id, "cause": error.message})
        if await exits.wait(node, record.id, max(0.0, end - asyncio.get_running_loop().time())):
            return
    await kill(node, record)


async def _asked_once(node: Node, record: Container) -> None:
    """Who stops a container that is being stopped waits for its end, as with containerd: a second signal would run
    its handler twice. After a manager that was killed it may be a second one."""
    if record.id in node.asked_to_stop:
        return
    node.asked_to_stop &= node.records.containers.keys()  # without those that are gone
    node.asked_to_stop.add(record.id)
    try:
        await _signal(node, record, signals.number(record.stop_signal))
    except BaseException:
        node.asked_to_stop.discard(record.id)
        raise


async def kill(node: Node, record: Container) -> None:
    """SIGKILL to every process of the container, and its exit in the record.

    Raises DeadlineExceeded when the kernel does not let them die.
    """
    for patience in _AFTER_KILL:
        await _signal(node, record, int(signal.SIGKILL), everyone=True)
        if await exits.wait(node, record.id, patience):
            return
    raise DeadlineExceeded(
        f"container {record.id} does not die of SIGKILL within {sum(_AFTER_KILL):g} s: "
        "its processes hang in the kernel, often on a dead network volume; repeat later"
    )


async def _signal(node: Node, record: Container, number: int, *, everyone: bool = False) -> None:
    """Send it; to a container that is over already it is no error, but news."""
    try:
        with (_KILL if everyone else _SIGNAL).of(record.id):
            await node.call(executor.KILL, executor.Kill(container=record.id, signal=number, all=everyone))
    except (NotFound, FailedPrecondition) as error:
        _logger.info("nothing to signal", extra={"container": record.id, "cause": error.message})
        await exits.ask(node, record.id)


async def end(node: Node, record: Container) -> None:
    """No process, keeper, cgroup or open log of the container is left; layer and record stay.

    Idempotent. Its exit is in the record before its traces go.
    """
    async with node.locks.of(record.id):
        known = node.records.latest(record)
        if known is None or not known.started_at:
            return
        if known.state in exits.ALIVE:
            await kill(node, known)
        await release(node, known)
        known = node.records.latest(record)
        if known is not None:  # how it ended: the last one that knew it by itself, its keeper, has gone
            node.kept.put(known.id, msgspec.json.encode(known))


async def release(node: Node, record: Container) -> None:
    """Take a container that is over from its shim and from the executor. Idempotent."""
    pod = node.records.sandboxes.get(record.pod)
    if pod is not None and not pod.torn:
        try:
            with _RELEASE.of(record.id):
                await node.call(shim.RELEASE, shim.Named(container=record.id), id=record.pod)
        except (NotFound, Unavailable, DeadlineExceeded) as error:
            # No shim has it: it never took it, let it go in an earlier try, or could not take it over from
            # one that died. And one that does not answer must not keep the container: it ends with its pod.
            _logger.info("not released by a shim", extra={"container": record.id, "cause": error.message})
    with _DELETE.of(record.id):
        await node.call(executor.DELETE, executor.Named(container=record.id))
