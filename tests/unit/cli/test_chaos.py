"""The command's words. Storms on a real node: tests/node/test_chaos.py."""

import argparse
import asyncio
import os
import signal
from pathlib import Path

import pytest
from cribus.api import manager
from cribus.api.cri.container import ListContainersResponse
from cribus.api.cri.sandbox import ListPodSandboxResponse
from cribus.cli import chaos
from cribus.cli.storm.page import Progress
from cribus.cli.storm.storm import Storm, Wish
from cribus.cli.supervisor import control
from cribus.config import Settings
from cribus.errors import FailedPrecondition

from tests.unit.cli.conftest import Answers, Node

ANSWERS: Answers = {
    manager.LIST_SANDBOXES: lambda _: ListPodSandboxResponse(),
    manager.LIST_CONTAINERS: lambda _: ListContainersResponse(),
}


@pytest.mark.parametrize(("text", "wanted"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200)])
def test_times(text: str, wanted: float) -> None:
    assert chaos.seconds(text) == wanted


@pytest.mark.parametrize("text", ["", "m", "10d", "-3s", "0", "ten"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="90s, 10m or 1h"):
        chaos.seconds(text)


def test_a_node_that_is_down(node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node.config.write_text(f'node = "unit"\nroot = "{tmp_path}"\nrun = "{tmp_path}"\n')
    assert node.cribus("chaos", "--yes") == 2
    assert "cribus up" in capsys.readouterr().err


def test_a_victim_that_there_is_not(
    node: Node, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(control, "supervised", lambda _: True)
    with node.serving(ANSWERS):
        assert node.cribus("chaos", "--yes", "--victims", "init") == 2
    assert "--victims init: what can be killed here is shim, keeper, executor" in capsys.readouterr().err


def test_where_nobody_can_be_asked_nothing_is_done(
    node: Node, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(control, "supervised", lambda _: True)
    with node.serving(ANSWERS):
        assert node.cribus("chaos") == 2
    said = capsys.readouterr()
    assert "It touches no other pod." in said.out
    assert "--yes" in said.err
    assert {type(one).__name__ for one in node.asked} == {"ListPodSandboxRequest", "ListContainersRequest"}


@pytest.mark.parametrize(("answer", "agreed"), [("y", True), ("Yes", True), ("", False), ("n", False)])
def test_whoever_is_there_is_asked(monkeypatch: pytest.MonkeyPatch, answer: str, agreed: bool) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: answer)
    if agreed:
        return chaos._agreed(yes=False)
    with pytest.raises(FailedPrecondition, match="nothing was done"):
        chaos._agreed(yes=False)
    return None


def test_the_first_interrupt_is_an_end_and_the_second_one_at_once() -> None:
    async def scenario() -> None:
        one = Storm(Settings(), Wish(1, 1.0, 0, 1, []), Progress(quiet=True))

        async def storm() -> None:
            chaos._on_interrupt(one)
            os.kill(os.getpid(), signal.SIGINT)
            await one.over.wait()
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()

        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(storm())
        assert one.interrupted

    asyncio.run(scenario())
