from pathlib import Path
from typing import Any

import pytest
from cribus.api import events, manager
from cribus.api.cri.container import ContainerStatusResponse
from cribus.api.cri.values import ContainerState
from cribus.api.events import Event

from tests.unit.cli import samples
from tests.unit.cli.conftest import Answers, Node

LINES = "".join(f"2026-11-24T00:00:00.0Z stdout F line {number}\n" for number in range(5))


def _answers(state: ContainerState, path: Path | str) -> Answers:
    located = manager.Located(pod=samples.POD, container=samples.CONTAINER)
    status = ContainerStatusResponse(status=samples.status(state, str(path)))
    return {manager.LOCATE: lambda _: located, manager.CONTAINER_STATUS: lambda _: status}


def test_whole_and_tail(node: Node, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text(LINES)
    with node.serving(_answers(ContainerState.CONTAINER_EXITED, path)):
        assert node.cribus("logs", "ccc") == 0
        assert capfd.readouterr().out == "".join(f"line {number}\n" for number in range(5))
        assert node.cribus("logs", "-t", "--tail", "1", "-f", "ccc") == 0
        assert capfd.readouterr().out == "2026-11-24T00:00:00.0Z line 4\n"


def test_follows_until_the_container_stops(node: Node, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text(LINES)
    answers = _answers(ContainerState.CONTAINER_RUNNING, path)
    status: Any = answers[manager.CONTAINER_STATUS]

    async def running(request: Any) -> Any:
        bus = node.bus["images"]
        with path.open("a") as file:
            file.write("2026-11-24T00:00:01.0Z stderr F last\n")
        await bus.publish(Event(kind=events.CONTAINER_STOPPED, id=samples.CONTAINER, at=1))
        return status(request)

    answers[manager.CONTAINER_STATUS] = running
    with node.serving(answers):
        assert node.cribus("logs", "-f", "ccc") == 0
    out, err = capfd.readouterr()
    assert (out.splitlines()[-1], err) == ("line 4", "last\n")


def test_no_log_file(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    with node.serving(_answers(ContainerState.CONTAINER_RUNNING, "")):
        assert node.cribus("logs", "ccc") == 1
        assert "without a log file" in capsys.readouterr().err
