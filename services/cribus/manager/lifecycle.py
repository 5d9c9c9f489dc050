"""The states of pods and containers as tables, and the one function that changes a state: it writes
one revision and tells the event. docs/architecture.md draws its diagrams from these tables."""

import time
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from cribus.api import events
from cribus.api.events import Event
from cribus.errors import FailedPrecondition, NotFound
from cribus.manager.node import Node
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
    """Bring the record from whatever state it has now to `to`; one revision, one event.

    Raises FailedPrecondition when no arrow leads there, NotFound when it was removed meanwhile.
    """
    async with node.records.writing(record.id):
        now = _latest(node, record)
        table = SANDBOX if isinstance(now, Sandbox) else CONTAINER
        if to not in table[now.state]:
            raise FailedPrecondition(f"{noun(now)} {now.id} is {now.state}: it cannot become {to}")
        at = time.time_ns()
        after = msgspec.structs.replace(now, state=to, changed_at=at, **changes)
        with _WRITE[type(after), to].of(after.id):
            await node.records.put(after)
        if (type(after), to) in NEWS and now.state is not to:
            await _tell(node, news(after))
    return after


async def change(node: Node, record: R, **changes: Any) -> R:
    """Write other fields of the record; the state stays. Raises NotFound when it was removed."""
    async with node.records.writing(record.id):
        after = msgspec.structs.replace(_latest(node, record), **changes)
        await node.records.put(after)
    return after


async def gone(node: Node, record: Sandbox | Container) -> None:
    """The last step of a removal: forget, and tell. Idempotent."""
    async with node.records.writing(record.id):
        known = node.records.latest(record)
        if known is None:
            return
        # Told before the store forgets: after a crash in between the removal is done again, and
        # the stream drops the repeat by its time.
        kind = events.SANDBOX_REMOVED if isinstance(known, Sandbox) else events.CONTAINER_REMOVED
        await _tell(node, news(known, kind))
        with _FORGET[type(known)].of(known.id):
            await node.records.delete(known)


async def _tell(node: Node, event: Event) -> None:
    with _TELL[event.kind].of(event.id):
        await node.publish(event)


def news(record: Sandbox | Container, kind: str = "") -> Event:
    """The event of a record's present state; the same record always gives the same event."""
    kind = kind or NEWS[type(record), record.state]
    if isinstance(record, Sandbox):
        return Event(kind=kind, id=record.id, pod=record.id, at=record.changed_at)
    return Event(
        kind=kind,
        id=record.id,
        pod=record.pod,
        at=record.changed_at,
        exit_code=record.exit_code,
        exit_known=record.reason != "Unknown",
        oom=record.reason == "OOMKilled",
    )


def noun(record: Sandbox | Container) -> str:
    return "pod" if isinstance(record, Sandbox) else "container"


def _latest(node: Node, record: R) -> R:
    now = node.records.latest(record)
    if now is None:
        raise NotFound(f"{noun(record)} {record.id} was removed meanwhile")
    return now
