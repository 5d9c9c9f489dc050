"""The events that the manager tells, each with the pod as it is at that moment: what the kubelet's evented
PLEG makes its pod status of, and what must not depend on when somebody reads it."""

import msgspec

from cribus.api import events
from cribus.api.events import Event
from cribus.manager import sandbox_status
from cribus.manager.node import Node
from cribus.manager.records import Container, Sandbox

_LARGEST = 512 << 10  # bytes of state in an event; a message of the bus has 1 MiB at most


def of(node: Node, record: Sandbox | Container, kind: str, at: int) -> Event:
    """The event; `at` (ns since the epoch) is when it happened: told again it is the same to the stream."""
    state = _state(node, record, kind)
    if isinstance(record, Sandbox):
        return Event(kind=kind, id=record.id, pod=record.id, at=at, state=state)
    return Event(
        kind=kind,
        id=record.id,
        pod=record.pod,
        at=at,
        exit_code=record.exit_code,
        exit_known=record.reason != "Unknown",
        oom=record.reason == "OOMKilled",
        state=state,
    )


def _state(node: Node, record: Sandbox | Container, kind: str) -> bytes:
    pod = record if isinstance(record, Sandbox) else node.records.sandboxes.get(record.pod)
    if pod is None:
        return b""
    seen = sandbox_status.seen(node, pod, without=record.id if kind == events.CONTAINER_REMOVED else "")
    packed = msgspec.msgpack.encode(seen)
    return packed if len(packed) <= _LARGEST else b""
