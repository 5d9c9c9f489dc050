"""What is remembered of events, which pods are ours by them, and waiting."""

import asyncio
from typing import Any

import pytest
from cribus.api import events
from cribus.api.cri.container import PodSandboxStatusResponse
from cribus.api.cri.sandbox import PodSandboxStatus
from cribus.api.events import Event
from cribus.bus import codec, service
from cribus.cli.storm.evidence import Told
from cribus.cli.storm.watch import Watch, watching
from cribus.errors import DeadlineExceeded

LABEL = ("cribus.chaos", "7")


def ready(pod: str, **labels: str) -> Event:
    state = codec.pack_message(PodSandboxStatusResponse(status=PodSandboxStatus(id=pod, labels=labels)))
    return Event(kind=events.SANDBOX_READY, id=pod, pod=pod, at=1, state=state)


def ended(container: str, code: int = 0) -> Event:
    return Event(kind=events.CONTAINER_STOPPED, id=container, pod="p", at=2, exit_code=code)


def test_pods_with_the_label_are_ours() -> None:
    watch = Watch(LABEL)
    watch.take(4, ready("p", **{"cribus.chaos": "7"}))
    watch.take(5, ready("q", **{"cribus.chaos": "8"}))
    watch.take(6, ready("r"))
    watch.take(7, Event(kind=events.SANDBOX_READY, id="s", pod="s", at=1))
    watch.take(9, ended("c", 3))
    assert watch.ours == {"p"}
    assert watch.sequence == 9
    assert watch.told[-1] == Told(events.CONTAINER_STOPPED, "c", "p", 3, known=True)


def test_waiting_for_an_end() -> None:
    async def scenario() -> None:
        watch = Watch(LABEL)
        waiting = asyncio.create_task(watch.ended("c", 10))
        for sequence, one in enumerate(("a", "b", "c")):
            watch.take(sequence, ended(one))
            await asyncio.sleep(0)
        await waiting
        await watch.ended("a", 10)  # long over
        with pytest.raises(DeadlineExceeded, match="the end of container x is not told"):
            await watch.ended("x", 0.01)

    asyncio.run(scenario())


def test_on_a_bus_that_dies_nothing_is_missed(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "cli") as bus:
            await bus.publish(ended("before"))
            await bus.events.flushed(10)
            async with watching(bus, LABEL) as watch:
                await bus.publish(ended("first"))
                await watch.ended("first", 10)
                await server.kill()
                await bus.publish(ended("second"))
                await server.start()
                await watch.ended("second", 20)
                await bus.events.flushed(10)
                assert await watch.whole(bus)
            assert [one.id for one in watch.told] == ["first", "second"]

    with_server(scenario)
