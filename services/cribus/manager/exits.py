"""Exits of containers: news from shims, and whoever waits for it.

The shim's event is the first witness. `ask` is the second: it reads what the executor knows.
"""

import asyncio
import logging
import time

from cribus.api import events, executor
from cribus.api.events import Event
from cribus.errors import CribusError, FailedPrecondition, NotFound
from cribus.manager import lifecycle
from cribus.manager.node import Node
from cribus.manager.records import Container, State

UNKNOWN_CODE = 255  # as CRI's own runtimes report an exit that nobody saw
_SOON = 1.0  # seconds after which an exit whose news was lost is asked for
ALIVE = (State.RUNNING, State.STOPPING)
_logger = logging.getLogger(__name__)


async def took(node: Node, event: Event, *, sure: bool = False) -> None:
    """Record an exit. Idempotent; an exit of something that is no longer known is old news.

    One from before the start may be of an earlier attempt to start it, or the clock was set: then the
    executor is asked, unless the news is its own (`sure`).
    """
    record = node.records.containers.get(event.id)
    if record is None:
        return
    if event.pid and record.pid and event.pid != record.pid:  # of an earlier try to start it
        return
    if not sure and record.state in ALIVE and event.at < record.started_at:
        await ask(node, event.id)
        return
    if record.state is State.STARTING and node.exits.held(event.id):
        # Its start has not answered yet, and decides whether this was a run or a failed start.
        node.exits.keep(event)
    elif record.state in (*ALIVE, State.STARTING):
        if record.state is State.STARTING and not sure:
            if await _made_again(node, event):
                return
            # A shim tells of runs only: whoever started it was killed before he could write that down.
            record = await lifecycle.move(node, record, State.RUNNING)
        await ended(node, record, event)
    node.exits.tell(event.id)


async def ended(node: Node, record: Container, event: Event) -> None:
    """Record that it is over, and how. Another witness may have been first."""
    try:
        await lifecycle.move(node, record, State.EXITED, **fields(event, record))
    except FailedPrecondition:
        if not _over(node, event.id):
            raise


async def _made_again(node: Node, event: Event) -> bool:
    """Whether the executor has made another process for this container since."""
    try:
        state = await node.call(executor.STATE, executor.Named(container=event.id))
    except NotFound:
        return False
    return 0 not in (event.pid, state.pid) and event.pid != state.pid


def fields(event: Event, record: Container) -> dict[str, object]:
    """What an exit changes in the record."""
    known = event.exit_known
    code = event.exit_code if known else UNKNOWN_CODE
    reason = "OOMKilled" if event.oom else "Completed" if code == 0 else "Error"
    return {
        "exit_code": code,
        "finished_at": max(event.at or time.time_ns(), record.started_at),
        "reason": reason if known else "Unknown",
        "message": "" if known else "no witness saw the exit, so its code is not known",
        "pid": 0,
    }


async def ask(node: Node, id: str) -> bool:
    """Ask the executor, and record an exit that it knows of. Whether the container is over.

    One that the executor does not know has no process: it is over, and nobody saw how.
    """
    try:
        state = await node.call(executor.STATE, executor.Named(container=id))
    except NotFound:
        state = executor.State(container=id)
    if state.status != "stopped":
        return False
    await took(node, of_state(state), sure=True)
    return True


def of_state(state: executor.State) -> Event:
    """What the executor knows of an exit, as the event that the shim would send."""
    return Event(
        kind=events.EXITED,
        id=state.container,
        pod=state.pod,
        at=state.exited_at or time.time_ns(),
        exit_code=state.exit_code,
        exit_known=state.exit_known,
        oom=state.oom,
    )


async def wait(node: Node, id: str, seconds: float) -> bool:
    """Until the container's exit is recorded, at most so long. Whether it is over.

    The executor is asked too, soon and at the end: never trust only one witness.
    """
    soon = min(seconds, _SOON)
    for part in (soon, seconds - soon):
        if _over(node, id) or (part > 0 and await _told(node, id, part)):
            return True
        if part > 0 and await _asked(node, id):
            return True
    return False


async def _told(node: Node, id: str, seconds: float) -> bool:
    with node.exits.waiting(id) as told:
        try:
            async with asyncio.timeout(seconds):
                while not _over(node, id):
                    told.clear()
                    await told.wait()
            return True
        except TimeoutError:
            return False


async def _asked(node: Node, id: str) -> bool:
    try:
        return await ask(node, id) or _over(node, id)
    except CribusError as error:
        _logger.warning("the executor does not say whether it runs", extra={"container": id, "cause": error.message})
        return _over(node, id)


def _over(node: Node, id: str) -> bool:
    record = node.records.containers.get(id)
    return record is None or record.state not in ALIVE
