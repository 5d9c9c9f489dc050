import json
from typing import Any

import pytest
from cribus.api import manager
from cribus.api.cri.container import ListContainersResponse
from cribus.api.cri.sandbox import ListPodSandboxResponse
from cribus.cli.supervisor import control
from cribus.cli.supervisor.control import Program

from tests.unit.cli import samples
from tests.unit.cli.conftest import Answers, Node

ANSWERS: Answers = {
    manager.LIST_CONTAINERS: lambda _: ListContainersResponse(containers=samples.CONTAINERS),
    manager.LIST_SANDBOXES: lambda _: ListPodSandboxResponse(items=samples.PODS),
}


def _programs(state: str) -> Any:
    return lambda settings: [Program("manager", state, 7, 10**18, 2)]


def test_services_and_counts(node: Node, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "programs", _programs("RUNNING"))
    with node.serving(ANSWERS):
        assert node.cribus("status") == 0
        out = capsys.readouterr().out
        assert "manager   running   7" in out
        assert "2 pods (1 ready), 1 container (1 running)" in out
        assert node.cribus("status", "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert found["services"][0]["pid"] == 7
        assert found["services"][0]["restarts"] == 2
        assert (found["pods"], found["running"]) == (2, 1)


def test_a_service_that_does_not_start(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "programs", _programs("BACKOFF"))
    with node.serving(ANSWERS):
        assert node.cribus("status") == 1


def test_without_a_manager(node: Node, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "programs", _programs("RUNNING"))
    with node.serving({}):
        assert node.cribus("status", "--json") == 1
        out, err = capsys.readouterr()
        assert json.loads(out)["services"]
        assert "manager does not answer" in err


def test_a_node_that_is_down(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    with node.serving({}):
        assert node.cribus("status") == 1
        assert "cribus up" in capsys.readouterr().err
