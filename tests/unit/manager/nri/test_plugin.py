"""Registration, subscription, and asking."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from cribus.errors import FailedPrecondition
from cribus.manager.nri import messages as m
from cribus.manager.nri.events import ALL, Event
from cribus.manager.nri.plugin import VERSION
from cribus.manager.nri.protobuf import Message

from tests.nri import Refusal
from tests.unit.manager.conftest import Run
from tests.unit.manager.nri.conftest import Staged


def raising(error: Exception) -> Callable[[Any], Message]:
    def answer(request: Any) -> Message:
        raise error

    return answer


def names(stage: Any) -> list[str]:
    return [one.name for one in stage.node.nri._rounds._plugins]


def test_it_is_configured(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            plugin = await stage.plugin("07-x")
            assert plugin.configured == m.ConfigureRequest(
                runtime_name="cribus",
                runtime_version="1.2.3",
                registration_timeout=2000,
                request_timeout=500,
                nri_version=VERSION,
            )
            assert names(stage) == ["07-x"]

    run(story())


def test_no_subscription_is_for_everything(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            await stage.plugin("00-x", {"Configure": lambda _: m.ConfigureResponse()})
            assert stage.node.nri._rounds._plugins[0].events == ALL  # type: ignore[union-attr]

    run(story())


@pytest.mark.parametrize(("index", "base"), [("7", "x"), ("007", "x"), ("aa", "x"), ("00", ""), ("00", "a/b")])
def test_a_wrong_name_is_refused(staged: Staged, run: Run, index: str, base: str) -> None:
    async def story() -> None:
        async with staged() as stage:
            plugin = await stage.stranger("00-x")
            request = m.RegisterPluginRequest(plugin_name=base, plugin_idx=index)
            reply = await asyncio.to_thread(plugin.call, "RegisterPlugin", request)
            assert reply.status is not None
            assert reply.status.code == 3
            # and it may try again on the same connection
            await asyncio.to_thread(plugin.register)

    run(story())


def test_one_connection_is_one_plugin(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            plugin = await stage.plugin("00-x")
            request = m.RegisterPluginRequest(plugin_name="y", plugin_idx="01")
            reply = await asyncio.to_thread(plugin.call, "RegisterPlugin", request)
            assert reply.status is not None
            assert "00-x already" in reply.status.message

    run(story())


def test_who_has_not_registered_may_not_update(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            plugin = await stage.stranger("00-x")
            reply = await asyncio.to_thread(plugin.call, "UpdateContainers", m.UpdateContainersRequest())
            assert reply.status is not None
            assert reply.status.message == "register first"

    run(story())


def test_an_unknown_question(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            plugin = await stage.stranger("00-x")
            reply = await asyncio.to_thread(plugin.call, "Dance", m.Empty())
            assert reply.status is not None
            assert reply.status.code == 12

    run(story())


CONFIGURED_WRONG = {
    "an error": raising(Refusal("bad configuration")),
    "events that do not exist": lambda _: m.ConfigureResponse(events=1 << 20),
}


@pytest.mark.parametrize("what", CONFIGURED_WRONG)
def test_who_is_not_configured_is_thrown_out(staged: Staged, run: Run, what: str) -> None:
    async def story() -> None:
        async with staged() as stage:
            plugin = await stage.stranger("00-x", {"Configure": CONFIGURED_WRONG[what]})
            request = m.RegisterPluginRequest(plugin_name="x", plugin_idx="00")
            await asyncio.to_thread(plugin.call, "RegisterPlugin", request)
            assert await asyncio.to_thread(plugin.over.wait, 5)
            assert names(stage) == []

    run(story())


def test_only_what_is_subscribed_is_asked(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            plugin = await stage.plugin("00-x", events=1 << Event.START_CONTAINER - 1)
            pod = await stage.world.pod()
            container = await stage.world.running(pod)
            assert plugin.methods(container) == ["StartContainer"]
            assert plugin.methods(pod) == []

    run(story())


def test_an_old_plugin_hears_of_changes_of_state(staged: Staged, run: Run) -> None:
    """Before NRI 0.10 there was one call for all that changes nothing."""

    async def story() -> None:
        unknown = raising(Refusal("unknown method", 12))
        answers = {event.method: unknown for event in Event if event is not Event.CREATE_CONTAINER}
        async with staged() as stage:
            plugin = await stage.plugin("00-x", answers)
            pod = await stage.world.pod()
            container = await stage.world.running(pod)
            changes = [one.event for name, one in plugin.asked if name == "StateChange"]
            assert changes == [
                Event.RUN_POD_SANDBOX,
                Event.POST_CREATE_CONTAINER,
                Event.START_CONTAINER,
                Event.POST_START_CONTAINER,
            ]
            await stage.world.running(pod, "second")
            assert [name for name, _ in plugin.asked].count("PostCreateContainer") == 1
            assert plugin.methods(container).count("StateChange") == 3

    run(story())


def test_what_never_was_a_change_of_state_is_an_error(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            await stage.plugin("00-x", {"CreateContainer": raising(Refusal("unknown method", 12))})
            pod = await stage.world.pod()
            with pytest.raises(FailedPrecondition, match="unknown method"):
                await stage.world.created(pod)

    run(story())
