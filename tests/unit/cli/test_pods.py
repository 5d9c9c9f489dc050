import json

import pytest
from cribus.api import manager
from cribus.api.cri.sandbox import ListPodSandboxResponse

from tests.unit.cli import samples
from tests.unit.cli.conftest import Node

ANSWERS = {manager.LIST_SANDBOXES: lambda _: ListPodSandboxResponse(items=samples.PODS)}


def test_newest_first(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    with node.serving(ANSWERS):
        assert node.cribus("pods") == 0
        _, first, second = capsys.readouterr().out.splitlines()
        assert first.split()[2:] == ["notready", "db", "prod", "2", "cribus"]
        assert second.split()[2:] == ["ready", "web", "default", "0", "cribus"]
        assert node.cribus("pods", "--json") == 0
        assert [one["pod"] for one in json.loads(capsys.readouterr().out)] == [samples.OTHER_POD, samples.POD]
        assert node.cribus("pods", "-q") == 0
        assert capsys.readouterr().out.split() == [samples.OTHER_POD, samples.POD]
