"""What a process did goes out in batches, waits for the bus, and is never in the way."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from cribus import log, steps
from cribus.api import manager, trace
from cribus.api.trace import Batch, Span, is_news, is_question
from cribus.api.verb import Empty
from cribus.bus import service, subjects
from cribus.bus.codec import unpack_message
from cribus.bus.trace import Asked, Trace
from cribus.errors import NotFound

from tests.unit.bus.conftest import Scenario, Server

STEP = steps.Step("unit.trace.step")


class _Connection:
    node = "unit"
    service = "manager"

    def __init__(self) -> None:
        self.up = True
        self.sent: list[Batch] = []

    async def send(self, subject: str, data: bytes) -> bool:
        assert subject == subjects.trace("unit", "manager")
        if self.up:
            self.sent.append(unpack_message(Batch, data))
        return self.up


def _with_trace(what: Callable[[Trace, _Connection], Any]) -> None:
    async def main() -> None:
        connection = _Connection()
        await what(Trace(connection), connection)  # type: ignore[arg-type]

    asyncio.run(main())


def test_steps_and_requests_are_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(told: Trace, connection: _Connection) -> None:
        monkeypatch.setattr(steps, "heard", told.heard)
        with log.ids(trace="t1"), told.asked("manager.run_sandbox") as asked:
            asked.id, asked.told = "p", {"caller": "gateway"}
            await asyncio.to_thread(_step)
        await told.flush()
        [batch] = connection.sent
        inner, outer = batch.spans
        assert (inner.name, inner.id, inner.trace, inner.failure) == ("unit.trace.step", "c", "t1", "")
        assert (outer.name, outer.id, outer.trace, outer.told) == (
            "manager.run_sandbox",
            "p",
            "t1",
            {"caller": "gateway"},
        )
        assert outer.began <= inner.began
        assert 0 < inner.took < outer.took

    _with_trace(scenario)


def _step() -> None:
    with STEP.of("c"):
        pass


def test_failures_have_code_and_sentence() -> None:
    async def scenario(told: Trace, connection: _Connection) -> None:
        with contextlib.suppress(NotFound), told.asked("manager.start_container"):
            raise NotFound("no such image")
        await told.flush()
        assert connection.sent[0].spans[0].failure == "NOT_FOUND: no such image"

    _with_trace(scenario)


def test_what_is_going_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(told: Trace, connection: _Connection) -> None:
        monkeypatch.setattr(steps, "heard", told.heard)
        with told.asked("manager.run_sandbox"), STEP.of("p"):
            going = await told.going(Empty())
        names = [(span.name, span.took) for span in going.spans]
        assert names == [("unit.trace.step", 0), ("manager.run_sandbox", 0)]
        assert going.threads[0] > 0
        assert (await told.going(Empty())).spans == []

    _with_trace(scenario)


def test_without_a_bus_they_wait_in_order_and_the_rest_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cribus.bus.trace._MOST", 3)
    monkeypatch.setattr("cribus.bus.trace._BATCH", 2)

    async def scenario(told: Trace, connection: _Connection) -> None:
        connection.up = False
        for number in range(5):
            told._take(Span(name=f"manager.x.{number}", began=1, took=1))
        await told.flush()
        assert connection.sent == []
        connection.up = True
        await told.flush()
        assert [[span.name[-1] for span in batch.spans] for batch in connection.sent] == [["0", "1"], ["2"]]
        assert [batch.lost for batch in connection.sent] == [2, 0]

    _with_trace(scenario)


@pytest.mark.parametrize(
    ("name", "question"),
    [
        ("list_shims", True),
        ("ListPodSandbox", True),
        ("PodSandboxStatus", True),
        ("state", True),
        ("Version", True),
        ("GetContainerEvents", True),
        ("RunPodSandbox", False),
        ("update_config", False),
        ("kill", False),
        ("StopContainer", False),
    ],
)
def test_questions(name: str, question: bool) -> None:
    assert is_question(name) == question


@pytest.mark.parametrize(
    ("span", "news"),
    [
        (Span(name="manager.run_sandbox.network", began=1, took=5), True),
        (Span(name="manager.list_sandboxes", began=1, took=5), False),
        (Span(name="ListPodSandbox", began=1, took=trace.SLOW), True),
        (Span(name="ContainerStatus", began=1, failure="NOT_FOUND: it is gone"), False),
        (Span(name="ContainerStatus", began=1, failure="UNAVAILABLE: the bus is away"), True),
        (Span(name="ExecSync", began=1, took=5), False),
        (Span(name="executor.exec.fork", began=1, took=5), False),
        (Span(name="executor.exec.fork", began=1, failure="OSError: x"), True),
        (Span(name="StartContainer", began=1, failure="NOT_FOUND: no such file"), True),
    ],
)
def test_what_is_worth_keeping(span: Span, news: bool) -> None:
    assert is_news(span) == news


def test_through_a_real_bus(with_server: Callable[[Scenario], None]) -> None:
    async def scenario(server: Server) -> None:
        async with service.connect(server.settings, "manager") as bus, service.connect(server.settings, "cli") as cli:
            await bus.trace.ensure()
            await bus.trace.ensure()

            async def leave(_: Empty) -> Empty:
                going = await cli.call(trace.going("manager"), Empty(), timeout=5.0)
                assert "manager.leave" in [span.name for span in going.spans]
                return Empty()

            async with bus.serve({manager.LEAVE: leave}):
                with log.ids(trace="t7"):
                    await cli.call(manager.LEAVE, Empty(), timeout=5.0)
                await bus.trace.flush()
                while not (spans := [span async for span in cli.history.spans(0)]):  # nobody says when they are there
                    pass
                [span] = spans
            assert (span.name, span.trace, span.told) == ("manager.leave", "t7", {"caller": "cli"})

    with_server(scenario)


def test_a_request_in_the_making() -> None:
    one = Asked("RunPodSandbox")
    assert one.span().took == 0
