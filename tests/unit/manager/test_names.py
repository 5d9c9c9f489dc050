"""One owner a name; who repeats gets the same."""

import asyncio
from functools import partial

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
        assert await second == "id"
        assert runs == [1]
        assert await known.join("n", 2, make) == "id"
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


def test_repeated(run: Run) -> None:
    owner = Sandbox(id="a", name="n", config=pod_config("p"), request="r1")

    async def asked(*, alike: bool, unused: bool) -> bool:
        return names.repeated(owner, alike=alike, unused=unused)

    async def story() -> None:
        assert await as_request("r1", lambda: asked(alike=False, unused=False))
        assert await as_request("r2", lambda: asked(alike=True, unused=True))
        for alike, unused in ((True, False), (False, True), (False, False)):
            error = await failing(as_request("r2", partial(asked, alike=alike, unused=unused)))
            assert isinstance(error, AlreadyExists)

    run(story())


def test_names_have_every_part() -> None:
    pod = PodSandboxMetadata(name="web", namespace="default", uid="u", attempt=2)
    assert names.of_sandbox(pod) == "web_default_u_2"
    assert names.of_container(ContainerMetadata(name="main", attempt=1), "p") == "main_1 of pod p"
