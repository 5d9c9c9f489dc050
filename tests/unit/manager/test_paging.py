"""A list is the same whole and in pages, also while what is listed changes."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from cribus.api.cri.container import ContainerStatus, PodSandboxStatusResponse
from cribus.api.cri.sandbox import PodSandboxStatusRequest
from cribus.api.paging import Page, Paged
from cribus.manager import paging
from cribus.manager.node import Node
from cribus.manager.records import Container

from tests.unit.manager.conftest import World


def _fitting(node: Node, request: PodSandboxStatusRequest) -> Iterable[Container]:
    return list(node.records.containers.values())


async def _telling(node: Node, found: Sequence[Container]) -> PodSandboxStatusResponse:
    return PodSandboxStatusResponse(containers_statuses=[ContainerStatus(id=one.id) for one in found])


PAGE = paging.paged(_fitting, _telling)
ALL = PodSandboxStatusRequest()


def _fill(world: World, count: int) -> None:
    # two of each time: a place must tell those apart too
    for number in range(count):
        id = f"{number:03d}"
        world.node.records.containers[id] = Container(id=id, pod="p", created_at=number // 2)


def _ids(answer: PodSandboxStatusResponse) -> list[str]:
    return [one.id for one in answer.containers_statuses]


async def _walk(world: World, most: int, between: Callable[[Paged[Any]], None] = lambda page: None) -> list[str]:
    found: list[str] = []
    after = ""
    while True:
        page = await PAGE(world.node, Page(asked=ALL, after=after, most=most))
        assert len(_ids(page.part)) <= most
        found += _ids(page.part)
        between(page)
        if not page.next:
            return found
        after = page.next


@pytest.mark.parametrize(("count", "most"), [(0, 3), (1, 3), (3, 3), (4, 3), (10, 3), (10, 1), (10, 100)])
def test_pages_are_the_whole_list(world: World, count: int, most: int) -> None:
    _fill(world, count)

    async def story() -> None:
        whole = _ids(await paging.whole(_fitting, _telling)(world.node, ALL))
        assert whole == [f"{number:03d}" for number in reversed(range(count))]
        assert await _walk(world, most) == whole

    asyncio.run(story())


def test_what_comes_and_goes_meanwhile_shifts_nothing(world: World) -> None:
    _fill(world, 9)
    records = world.node.records.containers

    def between(page: Paged[Any]) -> None:
        last = _ids(page.part)[-1]
        records.pop(last, None)  # the place that the next page begins at
        records[f"new-{last}"] = Container(id=f"new-{last}", pod="p", created_at=1000)

    assert asyncio.run(_walk(world, 2, between)) == [f"{number:03d}" for number in reversed(range(9))]
