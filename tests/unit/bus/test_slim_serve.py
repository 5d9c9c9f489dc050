"""A slim server asked by the services' own client: both speak the same protocol."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from cribus.api.verb import Addressed, Message, Verb
from cribus.bus import codec, service, slim_serve, subjects
from cribus.bus.service import Bus
from cribus.bus.slim_serve import Respond, Server
from cribus.errors import DeadlineExceeded, NotFound, Unimplemented

from tests.unit.bus.slim_rig import SlimRig


class Text(Message, frozen=True):
    text: str = ""


ECHO = Addressed("shim", "echo", Text, Text)
OTHER = Addressed("shim", "other", Text, Text)


class Served:
    def __init__(self, rig: SlimRig) -> None:
        self.rig = rig
        self.calls: list[str] = []
        self.settled: list[str] = []
        self.delay = 0.0
        self.slim = rig.slim("shim")
        self.server = Server(self.slim, {ECHO: self.echo})
        self.slim.subscribe(subjects.served("unit", "shim", "p"), self.server.take)
        self.thread = threading.Thread(target=rig.loop.run)

    def echo(self, request: Text, respond: Respond) -> None:
        self.calls.append(request.text)
        respond.when_settled(lambda: self.settled.append(respond.request))
        if request.text == "raise":
            raise NotFound("not here")
        if request.text == "large":
            respond(Text(text="x" * 3_000_000))
        elif self.delay:
            self.slim.loop.later(self.delay, lambda: respond(request))
        else:
            respond(request)

    def play(self, scenario: Callable[[Bus], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            async with service.connect(self.rig.settings, "gateway") as bus, asyncio.timeout(20):
                await scenario(bus)

        self.thread.start()
        try:
            asyncio.run(main())
        finally:
            self.rig.loop.later(0, self.rig.loop.stop)
            self.slim.loop.later(0, self.rig.loop.stop)
            self.thread.join(10)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    rig = SlimRig(tmp_path)
    one = Served(rig)
    rig.loop.later(30, rig.loop.stop)

    def tick() -> None:  # so that a stop asked for by the test's thread is seen
        rig.loop.later(0.02, tick)

    tick()
    yield one
    one.slim.close()
    rig.kill()


def test_answers_errors_and_large_answers(served: Served) -> None:
    async def scenario(bus: Bus) -> None:
        assert (await bus.call(ECHO, Text(text="hi"), id="p")).text == "hi"
        assert len((await bus.call(ECHO, Text(text="large"), id="p")).text) == 3_000_000
        with pytest.raises(NotFound, match="not here"):
            await bus.call(ECHO, Text(text="raise"), id="p")
        with pytest.raises(Unimplemented):
            await bus.call(OTHER, Text(), id="p")

    served.play(scenario)


def test_a_repeat_joins_what_runs(served: Served) -> None:
    async def scenario(bus: Bus) -> None:
        served.delay = 1.3  # the caller sends again every half second
        assert (await bus.call(ECHO, Text(text="slow"), id="p")).text == "slow"
        assert served.calls == ["slow"]

    served.play(scenario)


async def sent(bus: Bus, verb: Verb[Text, Text], meta: codec.Meta) -> dict[str, Any]:
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    bus.connection.answers["t"] = lambda msg: None if answer.done() else answer.set_result(msg.data)
    data = codec.pack_request(meta, Text(text="x"))
    await bus.connection.send(subjects.verb("unit", verb, "p"), data, bus.connection.reply_to("t"))
    found: dict[str, Any] = codec.unpack(await answer)
    return found


def test_what_must_not_run(served: Served) -> None:
    async def scenario(bus: Bus) -> None:
        late = await sent(bus, ECHO, codec.Meta(id="late", until=time.monotonic_ns() - 1))
        assert late["code"] == DeadlineExceeded.code
        assert served.calls == []
        again = [await sent(bus, ECHO, codec.Meta(id="same", n=n)) for n in (1, 2, 3)]
        assert again[0] == again[1] == again[2]
        assert served.calls == ["x"]

    served.play(scenario)


def test_answers_are_not_kept_without_end(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(bus: Bus) -> None:
        for k in range(8):
            await sent(bus, ECHO, codec.Meta(id=str(k)))
        await bus.call(ECHO, Text(text="large"), id="p")
        assert served.server._kept < 8_000_000
        await bus.call(ECHO, Text(text="large"), id="p")
        await bus.call(ECHO, Text(text="large"), id="p")
        assert served.server._kept < 8_000_000

    served.play(scenario)


def test_what_an_earlier_process_began_is_waited_for(served: Served) -> None:
    respond = served.server.expect("begun")

    async def scenario(bus: Bus) -> None:
        asking = asyncio.create_task(sent(bus, ECHO, codec.Meta(id="begun", n=2)))
        served.slim.loop.later(0.2, lambda: respond(Text(text="by the first")))
        assert (await asking)["body"] == {"text": "by the first"}
        again = await sent(bus, ECHO, codec.Meta(id="begun", n=3))
        assert again["body"] == {"text": "by the first"}
        assert served.calls == []

    served.play(scenario)


def test_it_is_told_when_an_answer_has_reached_the_bus(served: Served) -> None:
    async def scenario(bus: Bus) -> None:
        await sent(bus, ECHO, codec.Meta(id="heard"))
        while served.settled != ["heard"]:
            await bus.connection.nats.flush()
        await sent(bus, ECHO, codec.Meta(id="heard", n=2))
        assert served.settled == ["heard"]

    served.play(scenario)


def test_an_answer_that_nobody_has_asked_for_is_settled_when_it_is_forgotten(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slim_serve, "_KEEP", 0.1)

    async def scenario(bus: Bus) -> None:
        def begin() -> None:
            respond = served.server.expect("begun")
            respond.when_settled(lambda: served.settled.append("begun"))
            respond(Text())
            assert served.settled == []

        served.slim.loop.later(0, begin)
        while served.settled != ["begun"]:
            await bus.connection.nats.flush()

    served.play(scenario)
