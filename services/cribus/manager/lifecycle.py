"""The states of pods and containers as tables, and the one function that changes a state: it writes
one revision and tells the event. docs/architecture.md draws its diagrams from these tables."""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from cribus.api import events
from cribus.api.events import Event
from cribus.errors import FailedPrecondition, NotFound
from cribus.manager import news
from cribus.manager.node import Node, Publish
from cribus.manager.records import Container, Sandbox, State
from cribus.steps import Step

R = TypeVar("R", bound=Sandbox | Container)

SANDBOX: Mapping[State, tuple[State, ...]] = {
    State.CREATING: (State.READY, State.NOTREADY, State.REMOVING),
    State.READY: (State.STOPPING, State.REMOVING),
    State.STOPPING: (State.STOPPING, State.NOTREADY, State.REMOVING),
    State.NOTREADY: (State.REMOVING,),
    State.REMOVING: (State.REMOVING,),
}
CONTAINER: Mapping[State, tuple[State, ...]] = {
    State.CREATING: (State.CREATED, State.REMOVING),
    State.CREATED: (State.STARTING, State.EXITED, State.REMOVING),
    State.STARTING: (State.CREATED, State.RUNNING, State.EXITED, State.REMOVING),
    State.RUNNING: (State.STOPPING, State.EXITED, State.REMOVING),
    State.STOPPING: (State.STOPPING, State.EXITED, State.REMOVING),
    State.EXITED: (State.REMOVING,),
    State.REMOVING: (State.REMOVING,),
}
# What is told when a state is reached. A removal is told by `gone`.
NEWS: Mapping[tuple[type, State], str] = {
    (Sandbox, State.READY): events.SANDBOX_READY,
    (Sandbox, State.NOTREADY): events.SANDBOX_STOPPED,
    (Container, State.CREATED): events.CONTAINER_CREATED,
    (Container, State.RUNNING): events.CONTAINER_STARTED,
    (Container, State.EXITED): events.CONTAINER_STOPPED,
}
_WRITE: Mapping[tuple[type, State], Step] = {
    (kind, state): Step(f"manager.write.{kind.__name__.lower()}-{state}")
    for kind, table in ((Sandbox, SANDBOX), (Container, CONTAINER))
    for state in table
}
_FORGET = {kind: Step(f"manager.forget.{kind.__name__.lower()}") for kind in (Sandbox, Container)}
_TELL = {
    name: Step(f"manager.tell.{name}") for name in (*NEWS.values(), events.SANDBOX_REMOVED, events.CONTAINER_REMOVED)
}


async def begin(node: Node, record: Sandbox | Container) -> None:
    """Write a new record: from here on a crash is harmless."""
    with _WRITE[type(record), record.state].of(record.id):
        await node.records.put(record)


async def move(node: Node, record: R, to: State, **changes: Any) -> R:
    """Bring the record from whatever state it has now to `to`; one revision, and one event the first
    time that it gets there. A repeat of the state that it has keeps its time.

    Raises FailedPrecondition when no arrow leads there, NotFound when it was removed meanwhile.
    """
    async with node.records.writing(record.id):
        now = _latest(node, record)
        table = SANDBOX if isinstance(now, Sandbox) else CONTAINER
        if to not in table[now.state]:
            raise FailedPrecondition(f"{noun(now)} {now.id} is {now.state}: it cannot become {to}")
        at = now.changed_at if to is now.state else time.time_ns()
        kind = NEWS.get((type(now), to), "")
        untold = kind != "" and kind not in now.told
        told = {**now.told, kind: at} if untold else now.told
        after = msgspec.structs.replace(now, state=to, changed_at=at, told=told, **changes)
        with _WRITE[type(after), to].of(after.id):
            await node.records.put(after)
        if isinstance(after, Container) and to is State.EXITED:
            node.nri.exited(after)
        if untold:
            await _tell(node.publish, news.of(node, after, kind, at))
    return after


async def change(node: Node, record: R, **changes: Any) -> R:
    """Write other fields of the record; the state stays. Raises NotFound when it was removed."""
    async with node.records.writing(record.id):
        after = msgspec.structs.replace(_latest(node, record), **changes)
        await node.records.put(after)
    return after


async def change_if(node: Node, record: R, holds: Callable[[R], bool], **changes: Any) -> None:
    """The same, if that holds of the record as it is by then, and if it is still there."""
    async with node.records.writing(record.id):
        now = node.records.latest(record)
        if now is not None and holds(now):
            await node.records.put(msgspec.structs.replace(now, **changes))


async def gone(node: Node, record: Sandbox | Container) -> None:
    """The last step of a removal: forget, and tell. Idempotent."""
    async with node.records.writing(record.id):
        known = node.records.latest(record)
        if known is None:
            return
        # In the spool before the store forgets: after a crash in between the removal is done again,
        # and the stream drops the repeat by its time.
        for kind in _last_words(known):
            await _tell(node.publish, news.of(node, known, kind, known.changed_at))
        with _FORGET[type(known)].of(known.id):
            node.kept.drop(known.id)  # first: where it is there, the record was lost, not removed
            await node.records.delete(known)


def _last_words(known: Sandbox | Container) -> tuple[str, ...]:
    """What nobody ever heard of is not told to be gone; and a pod that was not stopped before is by now."""
    if not known.told:
        return ()
    if isinstance(known, Container):
        return (events.CONTAINER_REMOVED,)
    stopped = events.SANDBOX_STOPPED in known.told
    return (events.SANDBOX_REMOVED,) if stopped else (events.SANDBOX_STOPPED, events.SANDBOX_REMOVED)


async def _tell(how: Publish, event: Event) -> None:
    with _TELL[event.kind].of(event.id):
        await how(event)


def noun(record: Sandbox | Container) -> str:
    return "pod" if isinstance(record, Sandbox) else "container"


def _latest(node: Node, record: R) -> R:
    now = node.records.latest(record)
    if now is None:
        raise NotFound(f"{noun(record)} {record.id} was removed meanwhile")
    return now
