"""A manager whose NRI socket is open, and plugins in threads that connect to it."""

import asyncio
import contextlib
import json
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cribus.config import Nri
from cribus.manager import container_stop, container_update
from cribus.manager.node import Node
from cribus.manager.nri import messages as m
from cribus.manager.nri.protobuf import Message

from tests.harness import until
from tests.nri import Answer, Plugin, Refusal
from tests.unit.manager.conftest import World


class Stage:
    """The node, and the plugins that came."""

    def __init__(self, world: World) -> None:
        self.world, self.node = world, world.node
        self.path = Path(world.settings.nri.socket)
        self.plugins: list[Plugin] = []

    async def plugin(self, name: str, answers: Mapping[str, Answer] | None = None, events: int = 0) -> Plugin:
        """One that is connected and knows what exists."""
        made = await self.stranger(name, answers, events)
        await asyncio.to_thread(made.register)
        rounds = self.node.nri._rounds
        assert rounds is not None
        async with rounds._turn:  # which it has until it is one of those who are asked
            pass
        return made

    async def stranger(self, name: str, answers: Mapping[str, Answer] | None = None, events: int = 0) -> Plugin:
        """One that has not registered."""
        made = await asyncio.to_thread(Plugin, self.path, name, answers, events)
        self.plugins.append(made)
        return made


async def sometime(check: Callable[[], Any]) -> None:
    """Until it is so, while the manager works on."""
    await asyncio.to_thread(until, check, 5, "it becomes so")


@contextlib.asynccontextmanager
async def serving(node: Node) -> AsyncIterator[None]:
    limit, evict = partial(container_update.limit, node), partial(container_stop.evict, node)
    async with node.nri.serving("1.2.3", limit, evict):
        yield


Staged = Callable[[], contextlib.AbstractAsyncContextManager[Stage]]


@pytest.fixture
def staged(world: World) -> Staged:
    @contextlib.asynccontextmanager
    async def stage() -> AsyncIterator[Stage]:
        folder = tempfile.mkdtemp(prefix="crbn", dir="/tmp")  # a socket's path is short
        nri = Nri(socket=f"{folder}/nri/nri.sock", registration_timeout=2.0, request_timeout=0.5)
        world.settings = msgspec.structs.replace(world.settings, nri=nri)
        world.boot()
        made = Stage(world)
        try:
            async with serving(made.node):
                yield made
            assert not made.path.exists()
        finally:
            for plugin in made.plugins:
                await asyncio.to_thread(plugin.close)
            shutil.rmtree(folder)

    return stage


# What plugins answer, and what came of it


def adjusting(**given: Any) -> Callable[[Any], Message]:
    return lambda _: m.CreateContainerResponse(adjust=m.ContainerAdjustment(**given))


def refusing(request: Any) -> Message:
    raise Refusal("not on my node")


def limits(id: str, limit: int, ignore: bool = False) -> m.ContainerUpdate:
    resources = m.Resources(memory=m.Memory(limit=limit))
    return m.ContainerUpdate(container_id=id, linux=m.LinuxContainerUpdate(resources=resources), ignore_failure=ignore)


def spec(world: World, container: str) -> Any:
    return json.loads(Path(f"{world.node.container_dir(container)}/config.json").read_text())


def asked_limits(world: World) -> list[tuple[str, Any]]:
    return [(one.container, one.resources) for name, one in world.asked if name == "executor.update"]


def memory(world: World, container: str) -> int:
    resources = world.node.records.containers[container].resources
    return resources.memory_limit_in_bytes if resources else 0


def hanging(gate: threading.Event) -> Callable[[Any], Message | None]:
    def answer(request: Any) -> None:
        gate.wait(10)

    return answer
