"""The command on a real bus: what a service tells is on the page."""

import json

import pytest
from cribus.api import events, manager
from cribus.api.cri.container import ListContainersResponse, PodSandboxStatusResponse
from cribus.api.cri.sandbox import ListPodSandboxResponse
from cribus.api.events import Event
from cribus.api.trace import Span
from cribus.errors import NotFound

from tests.unit.cli import samples
from tests.unit.cli.conftest import Answers, Node
from tests.unit.cli.story.tales import WHO


def _no(request: object) -> None:
    raise NotFound("no such id")


ANSWERS: Answers = {
    manager.LIST_SANDBOXES: lambda _: ListPodSandboxResponse(items=samples.PODS),
    manager.LIST_CONTAINERS: lambda _: ListContainersResponse(containers=samples.CONTAINERS),
    manager.SANDBOX_STATUS: lambda _: PodSandboxStatusResponse(),
    manager.LOCATE: _no,  # the service knows no `going`: it is of an earlier version
}


def _tell(node: Node) -> None:
    async def tell() -> None:
        bus = node.bus["manager"]
        await bus.trace.ensure()
        start = Span(name="StartContainer", began=10**18 + 5, took=9, id=samples.CONTAINER, trace="t", told=WHO)
        bus.trace._take(start)
        exited = Event(kind=events.EXITED, id=samples.CONTAINER, pod=samples.POD, at=10**18 + 9, exit_code=3)
        await bus.publish(exited)
        await bus.trace.flush()
        await bus.events.flushed(5)
        while not [one async for one in bus.history.spans(0)]:  # nobody says when the stream has it
            pass

    node.do(tell())


def test_the_page_and_the_document(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    with node.serving(ANSWERS):
        _tell(node)
        assert node.cribus("why", "web") == 1
        out = capsys.readouterr().out
        assert "ended by itself with exit code 3" in out
        assert "asked by crictl (pid 7)" in out
        assert node.cribus("why", "--json", "web") == 1
        found = json.loads(capsys.readouterr().out)
        assert found["pod"] == samples.POD
        assert [one["name"] for one in found["spans"]] == ["StartContainer"]
        assert any("exit code 3" in one["text"] for one in found["causes"])


def test_nobody_knows_it(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    with node.serving(ANSWERS):
        assert node.cribus("why", "nobody") == 2
        assert "nothing is known of a pod or container nobody" in capsys.readouterr().err
