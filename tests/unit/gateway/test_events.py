"""The node's news as CRI's container events."""

import asyncio
from typing import Any

import msgspec
import pytest
from cribus.api import events as e
from cribus.api import manager
from cribus.api.cri.container import ContainerStatus, PodSandboxStatusResponse
from cribus.api.cri.runtime import ContainerEventResponse
from cribus.api.cri.sandbox import PodSandboxStatus
from cribus.api.cri.values import ContainerEventType as Kind
from cribus.errors import DataLoss, InvalidArgument, NotFound, Unavailable
from cribus.gateway.events import AFTER, TAKEN, container_events

from tests.unit.gateway.stand import Calls, News

STATE = PodSandboxStatusResponse(
    status=PodSandboxStatus(id="p1"), containers_statuses=[ContainerStatus(id="c1")], timestamp=77
)


def _event(kind: str, id: str, at: int = 1) -> e.Event:
    return e.Event(kind=kind, id=id, pod="p1", at=at, state=msgspec.msgpack.encode(STATE))


def _told(calls: Calls, *news: e.Event, **metadata: str) -> list[Any]:
    said = {name.replace("_", "-"): value for name, value in metadata.items()}

    async def read() -> list[Any]:
        answers = await container_events(calls, News(*news), said)
        return [event async for event in answers.items]

    return asyncio.run(read())


def test_a_containers_life_with_the_pod_as_it_was_each_time() -> None:
    kinds = [e.CONTAINER_CREATED, e.CONTAINER_STARTED, e.CONTAINER_STOPPED, e.CONTAINER_REMOVED]
    told = _told(Calls({}), *(_event(kind, "c1") for kind in kinds))
    assert [(one.container_id, one.container_event_type) for one in told] == [("c1", kind) for kind in Kind]
    assert all(one.pod_sandbox_status == STATE.status for one in told)
    assert all(one.containers_statuses == STATE.containers_statuses for one in told)
    assert {one.created_at for one in told} == {77}


def test_a_sandbox_shows_as_a_container_of_its_id() -> None:
    told = _told(Calls({}), _event(e.SANDBOX_READY, "p1"))
    assert [(one.container_id, one.container_event_type) for one in told] == [
        ("p1", Kind.CONTAINER_CREATED_EVENT),
        ("p1", Kind.CONTAINER_STARTED_EVENT),
    ]


def test_a_state_too_large_for_the_event_is_asked_for_until_the_manager_is_back() -> None:
    answers = [Unavailable("away"), STATE]

    def status(request: Any) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    (told,) = _told(Calls({manager.SANDBOX_STATUS: status}), e.Event(kind=e.CONTAINER_STARTED, id="c1", pod="p1", at=9))
    assert told.pod_sandbox_status == STATE.status


def test_a_pod_that_is_gone_meanwhile_is_told_without_its_state() -> None:
    def gone(request: Any) -> Any:
        raise NotFound("no such pod")

    (told,) = _told(Calls({manager.SANDBOX_STATUS: gone}), e.Event(kind=e.SANDBOX_REMOVED, id="p1", at=9))
    assert told == ContainerEventResponse(
        container_id="p1", container_event_type=Kind.CONTAINER_DELETED_EVENT, created_at=9
    )


def test_other_news_is_not_for_the_kubelet() -> None:
    assert _told(Calls({}), e.Event(kind=e.IMAGE_PULLED, id="i", at=1), e.Event(kind=e.EXITED, id="c", at=1)) == []


LIFE = [_event(e.SANDBOX_READY, "p1"), _event(e.CONTAINER_CREATED, "c1"), _event(e.CONTAINER_STARTED, "c1")]


@pytest.mark.parametrize("taken", range(5))
def test_a_reader_goes_on_where_it_was(taken: int) -> None:
    whole = _told(Calls({}), *LIFE)
    assert len(whole) == 4

    async def later() -> Any:
        news = News(*LIFE)
        news.begin = 3  # the newest by now
        answers = await container_events(Calls({}), news, {AFTER: "0", TAKEN: str(taken)})
        assert answers.metadata == ((AFTER, "0"),)
        return [event async for event in answers.items]

    assert asyncio.run(later()) == whole[taken:]


@pytest.mark.parametrize(("after", "kind"), [("0", DataLoss), ("9", DataLoss), ("x", InvalidArgument)])
def test_what_is_not_kept_cannot_be_gone_on_with(after: str, kind: type[Exception]) -> None:
    async def later() -> None:
        news = News(*LIFE)
        news.begin, news.oldest = 3, 2
        with pytest.raises(kind):
            await container_events(Calls({}), news, {AFTER: after})

    asyncio.run(later())
