import asyncio
from typing import Any, cast

import pytest
from cribus.api import manager
from cribus.api.cri.container import Container, ContainerMetadata, ListContainersResponse
from cribus.api.cri.sandbox import ListPodSandboxResponse
from cribus.api.cri.values import ContainerState
from cribus.bus.service import Bus
from cribus.cli import target
from cribus.errors import InvalidArgument, NotFound

from tests.unit.cli import samples

SIDE = Container(
    id="e" * 64,
    pod_sandbox_id=samples.POD,
    metadata=ContainerMetadata(name="side"),
    state=ContainerState.CONTAINER_EXITED,
)
AGAIN = Container(
    id="f" * 64,
    pod_sandbox_id=samples.POD,
    metadata=ContainerMetadata(name="side"),
    state=ContainerState.CONTAINER_RUNNING,
)


class _Bus:
    def __init__(self, containers: list[Container]) -> None:
        self._containers = containers

    async def call(self, verb: Any, request: Any) -> Any:
        if verb is manager.LIST_SANDBOXES:
            return ListPodSandboxResponse(items=samples.PODS)
        if verb is manager.LIST_CONTAINERS:
            return ListContainersResponse(containers=self._containers)
        if samples.POD.startswith(request.id):
            return manager.Located(pod=samples.POD)
        for one in self._containers:
            if one.id.startswith(request.id):
                return manager.Located(pod=one.pod_sandbox_id, container=one.id)
        raise NotFound("no such id")


def _meant(wanted: str, *more: Container) -> str:
    return asyncio.run(target.container(cast(Bus, _Bus([*samples.CONTAINERS, *more])), wanted))


@pytest.mark.parametrize("wanted", ["ccc", "aaa", "web", "main"])
def test_ids_and_names_of_pod_and_container(wanted: str) -> None:
    assert _meant(wanted) == samples.CONTAINER


def test_of_several_the_one_that_runs() -> None:
    assert _meant("web", SIDE) == samples.CONTAINER
    assert _meant("side", SIDE, AGAIN) == AGAIN.id


def test_several_run() -> None:
    with pytest.raises(InvalidArgument, match=r"main c+, side f+"):
        _meant("web", AGAIN)


def test_nothing_of_that_name() -> None:
    with pytest.raises(NotFound, match="cribus ps -a"):
        _meant("nope")
    with pytest.raises(NotFound, match="has no container"):
        _meant("db")
