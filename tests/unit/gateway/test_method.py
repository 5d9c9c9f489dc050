"""Forwarded verbs and paged lists."""

import asyncio

from cribus.api import manager
from cribus.api.cri import container as c
from cribus.gateway.method import PAGE, PATIENCE, forward, pages

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


def test_a_list_is_streamed_in_pages_in_order() -> None:
    whole = [c.Container(id=str(number)) for number in range(2 * PAGE + 1)]
    calls = Calls({manager.LIST_CONTAINERS: lambda request: c.ListContainersResponse(containers=whole)})
    method = pages(calls, manager.LIST_CONTAINERS, c.StreamContainersRequest, c.StreamContainersResponse)
    wanted = c.ContainerFilter(pod_sandbox_id="p")

    async def read() -> list[c.StreamContainersResponse]:
        return [page async for page in method.run(c.StreamContainersRequest(filter=wanted), 3.0)]  # type: ignore[misc]

    got = asyncio.run(read())
    assert [len(page.containers) for page in got] == [PAGE, PAGE, 1]
    assert [one for page in got for one in page.containers] == whole
    assert calls.asked[0][1] == c.ListContainersRequest(filter=wanted)


def test_an_empty_list_is_no_page() -> None:
    calls = Calls({manager.LIST_CONTAINERS: lambda request: c.ListContainersResponse()})
    method = pages(calls, manager.LIST_CONTAINERS, c.StreamContainersRequest, c.StreamContainersResponse)

    async def read() -> list[object]:
        return [page async for page in method.run(c.StreamContainersRequest(), 3.0)]

    assert asyncio.run(read()) == []
