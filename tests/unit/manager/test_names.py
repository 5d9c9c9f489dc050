"""One owner a name; who repeats gets the same."""

import asyncio

import pytest
from cribus.api.cri.container import ContainerMetadata
from cribus.api.cri.sandbox import PodSandboxMetadata
from cribus.errors import AlreadyExists, InvalidArgument
from cribus.manager import names
from cribus.manager.records import Sandbox

from tests.unit.manager.conftest import Run, as_request, failing, pod_config


def test_join_runs_once_and_survives_its_first_caller(run: Run) -> None:
    runs: list[int] = []
    go_on: asyncio.Event

    async def make() -> str:
        runs.append(1)
        await go_on.wait()
        return "id"

    async def story() -> None:
        nonlocal go_on
        go_on = asyncio.Event()
        known = names.Names()
        first = asyncio.ensure_future(known.join("n", 1, make))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(known.join("n", 1, make))
        assert isinstance(await failing(known.join("n", 2, make)), AlreadyExists)
        first.cancel()
        go_on.set()
        await known.settle("n")
        assert await second == ("id", True)
        assert runs == [1]
        assert await known.join("n", 2, make) == ("id", False)
        await known.settle("nobody")

    run(story())


def test_a_failure_is_everybodys_and_the_name_is_free(run: Run) -> None:
    async def make() -> str:
        raise InvalidArgument("no")

    async def story() -> None:
        known = names.Names()
        outcomes = await asyncio.gather(known.join("n", 1, make), known.join("n", 1, make), return_exceptions=True)
        assert [type(one) for one in outcomes] == [InvalidArgument, InvalidArgument]
        assert not known._running

    run(story())


async def _alive(subject: str) -> bool:
    return True


async def _dead(subject: str) -> bool:
    return False


def test_settled(run: Run) -> None:
    config = pod_config("p")
    owner = Sandbox(id="a", name="n", config=config, request="r1")
    unclaimed = Sandbox(id="a", name="n", config=config, unclaimed=True)

    async def asked() -> bool:
        return await names.settled(_alive, owner, config)

    async def story() -> None:
        assert await as_request("r1", asked)
        assert isinstance(await failing(as_request("r2", asked)), AlreadyExists)
        assert await names.settled(_alive, unclaimed, config)
        assert await names.settled(_dead, owner, config)
        for listened in (_alive, _dead):
            with pytest.raises(AlreadyExists):
                await names.settled(listened, unclaimed, pod_config("p", hostname="x"))

    run(story())


def test_given_up(run: Run) -> None:
    async def late() -> bool:
        return names.given_up(100)

    async def story() -> None:
        assert await as_request("r", late, deadline=99)
        assert not await as_request("r", late, deadline=101)
        assert not await late()

    run(story())


def test_names_have_every_part() -> None:
    pod = PodSandboxMetadata(name="web", namespace="default", uid="u", attempt=2)
    assert names.of_sandbox(pod) == "web_default_u_2"
    assert names.of_container(ContainerMetadata(name="main", attempt=1), "p") == "main_1 of pod p"
