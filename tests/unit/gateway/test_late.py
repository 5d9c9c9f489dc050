"""Before the bus is there, calls say why they cannot; afterwards they go through."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from cribus.api import manager
from cribus.api.cri.runtime import StatusRequest, StatusResponse
from cribus.api.events import Event
from cribus.bus.trace import Asked
from cribus.errors import Unavailable
from cribus.gateway.late import Late

from tests.unit.gateway.stand import Calls, News, Shim, program


@contextlib.contextmanager
def _asked(name: str) -> Iterator[Asked]:
    yield Asked(name)


def test_without_a_bus() -> None:
    async def run() -> None:
        with pytest.raises(Unavailable, match="bus is away"):
            await Late().call(manager.STATUS, StatusRequest(), timeout=0.01)

    asyncio.run(run())


def test_a_call_waits_for_the_bus_to_appear() -> None:
    async def run() -> Any:
        late = Late()
        asked = asyncio.create_task(late.call(manager.STATUS, StatusRequest(), timeout=3.0))
        await asyncio.sleep(0)
        late.arrived(
            Calls({manager.STATUS: lambda request: StatusResponse()}),
            News(Event(kind="exited", id="c", at=1)),
            Shim(program).lines,
            _asked,
        )
        with late.asked("RunPodSandbox") as told:
            assert told.name == "RunPodSandbox"
        begin = await late.last(), await late.first()
        return await asked, begin, [seen.event.kind async for seen in late.follow(since=0)]

    assert asyncio.run(run()) == (StatusResponse(), (0, 1), ["exited"])


def test_what_is_asked_before_the_bus_is_there_is_no_error() -> None:
    with Late().asked("Version") as told:
        assert told.name == "Version"
