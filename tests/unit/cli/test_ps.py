import json

import pytest
from cribus.api import manager
from cribus.api.cri.container import ListContainersResponse
from cribus.api.cri.sandbox import ListPodSandboxResponse
from cribus.api.cri.values import ContainerState

from tests.unit.cli import samples
from tests.unit.cli.conftest import Answers, Node

ANSWERS: Answers = {
    manager.LIST_CONTAINERS: lambda _: ListContainersResponse(containers=samples.CONTAINERS),
    manager.LIST_SANDBOXES: lambda _: ListPodSandboxResponse(items=samples.PODS),
}


def test_table_json_and_ids(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    with node.serving(ANSWERS):
        assert node.cribus("ps") == 0
        heading, row = capsys.readouterr().out.splitlines()
        assert heading.split() == ["CONTAINER", "IMAGE", "CREATED", "STATE", "NAME", "ATTEMPT", "POD", "POD_NAME"]
        assert row.split()[0] == "c" * 13
        assert row.split()[3:] == ["running", "main", "0", "a" * 13, "web"]
        assert node.asked[0].filter.state == ContainerState.CONTAINER_RUNNING
        assert node.cribus("ps", "-a", "--json") == 0
        assert node.asked[2].filter.state is None
        [one] = json.loads(capsys.readouterr().out)
        assert (one["container"], one["pod"], one["created"]) == (samples.CONTAINER, samples.POD, 10**18)
        assert node.cribus("ps", "-q") == 0
        assert capsys.readouterr().out == samples.CONTAINER + "\n"
