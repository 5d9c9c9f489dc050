"""What exists, in as many messages as it needs, and plugins that come while it changes."""

import asyncio
import json
import threading

import pytest
from cribus.manager.nri import messages as m
from cribus.manager.nri.existing import Moment
from cribus.manager.nri.frames import MOST
from cribus.manager.nri.protobuf import Message, decode, encode
from cribus.manager.nri.synchronize import parts
from cribus.manager.records import Container, Sandbox
from cribus.oci.runtime_spec import Spec

from tests.unit.manager.conftest import Run
from tests.unit.manager.nri.conftest import Staged, asked_limits, hanging, limits, memory, refusing, sometime


def told(moment: Moment) -> list[m.SynchronizeRequest]:
    async def all() -> list[m.SynchronizeRequest]:
        return [one async for one in parts(moment)]

    return asyncio.run(all())


def test_nothing_is_one_message() -> None:
    assert told(Moment([], [])) == [m.SynchronizeRequest()]


def test_little_is_one_message() -> None:
    spec: Spec = {"process": {"args": ["sh"]}}
    (one,) = told(Moment([Sandbox(id="p")], [(Container(id="c", pod="p"), lambda: spec)]))
    assert [decode(m.PodSandbox, pod).id for pod in one.pods] == ["p"]
    assert [decode(m.Container, each).args for each in one.containers] == [["sh"]]
    assert not one.more


def test_much_is_several_and_each_fits() -> None:
    spec: Spec = {"process": {"args": ["x" * 1_000_000]}}
    made = [(Container(id=f"c{k}", pod="p"), lambda: spec) for k in range(10)]
    several = told(Moment([Sandbox(id="p")], made))
    assert [one.more for one in several] == [True, True, False]
    assert all(len(encode(one)) <= MOST - 256 for one in several)
    ids = [decode(m.Container, each).id for one in several for each in one.containers]
    assert ids == [f"c{k}" for k in range(10)]


def test_who_comes_is_told_what_exists_and_may_change_it(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            world = stage.world
            pod = await world.pod()
            container = await world.running(pod)
            over = await world.running(pod, "over")
            world.exit(over, 0)
            await asyncio.sleep(0)

            def synchronize(request: m.SynchronizeRequest) -> Message:
                assert [decode(m.PodSandbox, one).id for one in request.pods] == [pod]
                assert [decode(m.Container, one).id for one in request.containers] == [container]
                return m.SynchronizeResponse(update=[limits(container, 1 << 20)])

            plugin = await stage.plugin("00-x", {"Synchronize": synchronize})
            await sometime(lambda: asked_limits(world))
            assert memory(world, container) == 1 << 20
            assert [name for name, _ in plugin.asked][:2] == ["Configure", "Synchronize"]

    run(story())


def test_nothing_is_lost_while_somebody_is_told_what_exists(staged: Staged, run: Run) -> None:
    """A container that is made meanwhile waits, and is then told to the new one too."""

    async def story() -> None:
        gate = threading.Event()
        async with staged() as stage:
            pod = await stage.world.pod()

            def synchronize(request: m.SynchronizeRequest) -> Message:
                gate.wait(10)
                return m.SynchronizeResponse()

            plugin = await stage.stranger("00-x", {"Synchronize": synchronize})
            joining = asyncio.ensure_future(asyncio.to_thread(plugin.register))
            await sometime(lambda: any(name == "Synchronize" for name, _ in list(plugin.asked)))
            making = asyncio.ensure_future(stage.world.running(pod))
            done, _ = await asyncio.wait([making], timeout=0.2)
            assert not done
            gate.set()
            await joining
            assert "CreateContainer" in plugin.methods(await making)

    run(story())


def test_what_is_half_made_when_somebody_comes_is_told(staged: Staged, run: Run) -> None:
    """Its record says that it is being made, and nobody will be asked about it any more."""

    async def story() -> None:
        async with staged() as stage:
            world = stage.world
            pod = await world.pod()
            reached, go_on = asyncio.Event(), asyncio.Event()
            put = world.store.put

            async def slow(key: str, value: bytes) -> int:
                if json.loads(value).get("state") == "created":
                    reached.set()
                    await go_on.wait()
                return await put(key, value)

            world.store.put = slow  # type: ignore[method-assign]
            making = asyncio.ensure_future(world.created(pod))
            await reached.wait()
            plugin = await stage.plugin("00-x")
            go_on.set()
            container = await making
            assert [one.id for one in plugin.containers] == [container]
            assert plugin.methods(container) == ["PostCreateContainer"]

    run(story())


def test_more_than_a_message_takes_is_told_in_parts(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            world = stage.world
            pod = await world.pod()
            big = {"x": "y" * 1_500_000}
            made = [await world.created(pod, f"c{k}", annotations=big) for k in range(5)]
            plugin = await stage.plugin("00-x")
            assert [request.more for name, request in plugin.asked if name == "Synchronize"] == [True, True, False]
            assert [one.id for one in plugin.containers] == made
            old = await stage.stranger("10-old", {"Synchronize": lambda _: m.SynchronizeResponse()})
            request = m.RegisterPluginRequest(plugin_name="old", plugin_idx="10")
            await asyncio.to_thread(old.call, "RegisterPlugin", request)
            assert await asyncio.to_thread(old.over.wait, 5)

    run(story())


@pytest.mark.parametrize("how", ["hangs", "refuses"])
def test_who_does_not_synchronise_is_not_asked(staged: Staged, run: Run, how: str) -> None:
    async def story() -> None:
        gate = threading.Event()
        answer = hanging(gate) if how == "hangs" else refusing
        async with staged() as stage:
            plugin = await stage.stranger("00-x", {"Synchronize": answer})
            request = m.RegisterPluginRequest(plugin_name="x", plugin_idx="00")
            await asyncio.to_thread(plugin.call, "RegisterPlugin", request)
            await sometime(lambda: any(name == "Synchronize" for name, _ in list(plugin.asked)))
            pod = await stage.world.pod()
            gate.set()
            assert await asyncio.to_thread(plugin.over.wait, 5)
            assert plugin.methods(pod) == []

    run(story())


def test_everybody_is_told_when_the_runtime_stops(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            plugin = await stage.plugin("00-x")
        assert plugin.asked[-1][0] == "Shutdown"

    run(story())
