"""The node's news as CRI's container events."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from cribus.api import events as e
from cribus.api import manager
from cribus.api.cri.container import ContainerStatus, PodSandboxStatusResponse
from cribus.api.cri.runtime import ContainerEventResponse
from cribus.api.cri.sandbox import PodSandboxStatus
from cribus.api.cri.values import ContainerEventType as Kind
from cribus.errors import NotFound
from cribus.gateway.events import container_events

from tests.unit.gateway.stand import Calls


def _told(calls: Calls, *news: e.Event) -> list[ContainerEventResponse]:
    async def follow() -> AsyncGenerator[e.Event, None]:
        for one in news:
            yield one

    async def read() -> list[ContainerEventResponse]:
        return [event async for event in container_events(calls, follow)]

    return asyncio.run(read())


def _status(request: Any) -> PodSandboxStatusResponse:
    return PodSandboxStatusResponse(
        status=PodSandboxStatus(id=request.pod_sandbox_id), containers_statuses=[ContainerStatus(id="c1")]
    )


def test_a_containers_life() -> None:
    kinds = [e.CONTAINER_CREATED, e.CONTAINER_STARTED, e.CONTAINER_STOPPED, e.CONTAINER_REMOVED]
    news = [e.Event(kind=kind, id="c1", pod="p1", at=at) for at, kind in enumerate(kinds)]
    told = _told(Calls({manager.SANDBOX_STATUS: _status}), *news)
    assert [(one.container_id, one.container_event_type, one.created_at) for one in told] == [
        ("c1", kind, at) for at, kind in enumerate(Kind)
    ]
    assert {one.pod_sandbox_status.id for one in told if one.pod_sandbox_status} == {"p1"}
    assert told[0].containers_statuses == [ContainerStatus(id="c1")]


def test_a_sandbox_shows_as_a_container_of_its_id() -> None:
    told = _told(Calls({manager.SANDBOX_STATUS: _status}), e.Event(kind=e.SANDBOX_READY, id="p1", at=1))
    assert [(one.container_id, one.container_event_type) for one in told] == [
        ("p1", Kind.CONTAINER_CREATED_EVENT),
        ("p1", Kind.CONTAINER_STARTED_EVENT),
    ]


def test_a_removed_pod_is_told_without_its_state() -> None:
    def gone(request: Any) -> Any:
        raise NotFound("no such pod")

    (told,) = _told(Calls({manager.SANDBOX_STATUS: gone}), e.Event(kind=e.SANDBOX_REMOVED, id="p1", at=9))
    assert told == ContainerEventResponse(
        container_id="p1", container_event_type=Kind.CONTAINER_DELETED_EVENT, created_at=9
    )


def test_other_news_is_not_for_the_kubelet() -> None:
    assert _told(Calls({}), e.Event(kind=e.IMAGE_PULLED, id="i", at=1), e.Event(kind=e.EXITED, id="c", at=1)) == []
