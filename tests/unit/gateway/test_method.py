"""Forwarded verbs and paged lists."""

import asyncio

from cribus.api import manager
from cribus.api.cri import container as c
from cribus.api.paging import Page, Paged
from cribus.gateway.method import PATIENCE, Caller, Wire, forward, pages

from tests.unit.gateway.stand import Calls


def test_a_forwarded_verb_gets_the_request_and_the_time() -> None:
    calls = Calls({manager.LIST_CONTAINERS: lambda request: c.ListContainersResponse()})
    method = forward(calls, manager.LIST_CONTAINERS)
    request = c.ListContainersRequest(filter=c.ContainerFilter(id="x"))
    assert asyncio.run(_run(method.run(request, 7.0))) == c.ListContainersResponse()
    assert calls.asked == [("list_containers", request, "", 7.0)]
    assert method.patience(request) == PATIENCE


async def _run(work: object) -> object:
    return await work  # type: ignore[misc]


WIRE = Wire(c.ListContainersRequest, c.StreamContainersRequest, c.StreamContainersResponse)


def _pages(calls: Calls, request: c.StreamContainersRequest) -> list[list[str]]:
    async def read() -> list[list[str]]:
        answers = await pages(calls, manager.PAGE_CONTAINERS, WIRE, 2).run(request, Caller(3.0))
        return [[one.id for one in page.containers] async for page in answers.items]  # type: ignore[attr-defined]

    return asyncio.run(read())


def test_a_list_is_streamed_in_pages_each_asked_for_apart() -> None:
    def part(request: Page[c.ListContainersRequest]) -> Paged[c.ListContainersResponse]:
        begin = int(request.after or 0)
        ids = ["a", "b", "c", "d", "e"][begin : begin + request.most]
        told = c.ListContainersResponse(containers=[c.Container(id=id) for id in ids])
        return Paged(part=told, next=str(begin + 2) if begin + 2 < 5 else "")

    calls = Calls({manager.PAGE_CONTAINERS: part})
    wanted = c.ContainerFilter(pod_sandbox_id="p")
    assert _pages(calls, c.StreamContainersRequest(filter=wanted)) == [["a", "b"], ["c", "d"], ["e"]]
    asked = [(request.asked, request.after) for _, request, _, _ in calls.asked]
    assert asked == [(c.ListContainersRequest(filter=wanted), after) for after in ("", "2", "4")]


def test_an_empty_list_is_no_page() -> None:
    empty = Calls({manager.PAGE_CONTAINERS: lambda request: Paged(part=c.ListContainersResponse())})
    assert _pages(empty, c.StreamContainersRequest()) == []
