"""The node's news as CRI's container events (GetContainerEvents, the kubelet's evented PLEG).

A reader whose gateway was killed can go on where it was: the stream's first metadata names its beginning
(`cribus-events-after`), and who sends that back with the number of events that he has taken since
(`cribus-events-taken`) gets the next one.
"""

import contextlib
import logging
from collections.abc import AsyncGenerator, Mapping
from typing import Protocol

import msgspec

from cribus.api import events as e
from cribus.api import manager
from cribus.api.cri.container import PodSandboxStatusResponse
from cribus.api.cri.runtime import ContainerEventResponse
from cribus.api.cri.sandbox import PodSandboxStatusRequest
from cribus.api.cri.values import ContainerEventType as Kind
from cribus.api.verb import Call
from cribus.errors import DataLoss, DeadlineExceeded, InvalidArgument, NotFound, Unavailable
from cribus.gateway.method import Answers

AFTER, TAKEN = "cribus-events-after", "cribus-events-taken"
_logger = logging.getLogger(__name__)


class Seen(Protocol):
    @property
    def event(self) -> e.Event: ...


class News(Protocol):
    """The node's event stream (bus/events.py)."""

    async def first(self) -> int: ...
    async def last(self) -> int: ...
    def follow(self, *, since: int) -> AsyncGenerator[Seen, None]: ...


# A sandbox shows as a container of its own id, as the kubelet knows it from other runtimes.
_KINDS: dict[str, list[Kind]] = {
    e.SANDBOX_READY: [Kind.CONTAINER_CREATED_EVENT, Kind.CONTAINER_STARTED_EVENT],
    e.SANDBOX_STOPPED: [Kind.CONTAINER_STOPPED_EVENT],
    e.SANDBOX_REMOVED: [Kind.CONTAINER_DELETED_EVENT],
    e.CONTAINER_CREATED: [Kind.CONTAINER_CREATED_EVENT],
    e.CONTAINER_STARTED: [Kind.CONTAINER_STARTED_EVENT],
    e.CONTAINER_STOPPED: [Kind.CONTAINER_STOPPED_EVENT],
    e.CONTAINER_REMOVED: [Kind.CONTAINER_DELETED_EVENT],
}


async def container_events(call: Call, news: News, metadata: Mapping[str, str]) -> Answers:
    """Every event from now on, or from where the metadata says, each once and in order.

    Raises InvalidArgument for metadata that are no numbers, DataLoss when what came after is not all kept.
    """
    after, taken = metadata.get(AFTER, ""), metadata.get(TAKEN, "0")
    if not after:
        begin, taken = await news.last(), "0"
    elif not (after.isdecimal() and taken.isdecimal()):
        raise InvalidArgument(f"{AFTER} {after!r} and {TAKEN} {taken!r} must be numbers")
    else:
        begin = int(after)
        if not await news.first() - 1 <= begin <= await news.last():
            raise DataLoss(f"not all events after number {begin} are kept; list pods and containers, and begin anew")
    return Answers(_untaken(call, news, begin, int(taken)), ((AFTER, str(begin)),))


async def _untaken(call: Call, news: News, begin: int, taken: int) -> AsyncGenerator[ContainerEventResponse, None]:
    async with contextlib.aclosing(news.follow(since=begin)) as followed:
        async for seen in followed:
            kinds = _KINDS.get(seen.event.kind, [])
            left = kinds[taken:]
            taken = max(0, taken - len(kinds))
            if left:
                state = await _state(call, seen.event)
                for kind in left:
                    yield _told(seen.event, kind, state)


def _told(event: e.Event, kind: Kind, state: PodSandboxStatusResponse) -> ContainerEventResponse:
    """`created_at` is when the state was taken: the kubelet drops what is older than what it has of the
    pod, and changes of two containers may be told in another order than they were recorded."""
    return ContainerEventResponse(
        container_id=event.id,
        container_event_type=kind,
        created_at=state.timestamp or event.at,
        pod_sandbox_status=state.status,
        containers_statuses=state.containers_statuses,
    )


async def _state(call: Call, event: e.Event) -> PodSandboxStatusResponse:
    """The pod as it was; of one that was too large for the event as it is, and empty when it is gone."""
    if event.state:
        return msgspec.msgpack.decode(event.state, type=PodSandboxStatusResponse)
    request = PodSandboxStatusRequest(pod_sandbox_id=event.pod or event.id)
    while True:
        try:
            return await call(manager.SANDBOX_STATUS, request)
        except NotFound:
            return PodSandboxStatusResponse()
        except (Unavailable, DeadlineExceeded) as error:  # each after seconds of asking
            _logger.warning("an event waits for the manager", extra={"pod": event.pod, "cause": error.message})
