import pytest
from cribus.api import manager
from cribus.api.cri.sandbox import (
    ListPodSandboxResponse,
    PodSandbox,
    PodSandboxMetadata,
    RemovePodSandboxRequest,
    RemovePodSandboxResponse,
    StopPodSandboxRequest,
    StopPodSandboxResponse,
)
from cribus.cli import rm
from cribus.errors import InvalidArgument, NotFound

from tests.unit.cli import samples
from tests.unit.cli.conftest import Answers, Node

ANSWERS: Answers = {
    manager.LIST_SANDBOXES: lambda _: ListPodSandboxResponse(items=samples.PODS),
    manager.STOP_SANDBOX: lambda _: StopPodSandboxResponse(),
    manager.REMOVE_SANDBOX: lambda _: RemovePodSandboxResponse(),
}


def test_stops_then_removes(node: Node) -> None:
    with node.serving(ANSWERS):
        assert node.cribus("rm", "web") == 0
        stop, remove = node.asked[1:]
        assert stop == StopPodSandboxRequest(pod_sandbox_id=samples.POD)
        assert remove == RemovePodSandboxRequest(pod_sandbox_id=samples.POD)


def test_all(node: Node) -> None:
    with node.serving(ANSWERS):
        assert node.cribus("rm", "--all") == 0
        removed = {one.pod_sandbox_id for one in node.asked if isinstance(one, RemovePodSandboxRequest)}
        assert removed == {samples.POD, samples.OTHER_POD}


def test_which_pod_is_meant() -> None:
    assert rm.chosen(samples.PODS, "db").id == samples.OTHER_POD
    assert rm.chosen(samples.PODS, "aa").id == samples.POD
    with pytest.raises(InvalidArgument, match="2 pods"):
        rm.chosen(samples.PODS, "a")
    with pytest.raises(NotFound, match="cribus pods"):
        rm.chosen(samples.PODS, "zz")


def test_nothing_named(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert node.cribus("rm") == 1
    assert "--all" in capsys.readouterr().err


def test_the_logs_of_what_run_made_go_too(node: Node) -> None:
    metadata = PodSandboxMetadata(name="web", uid="0123456789abcdef", namespace="default")
    made = PodSandbox(id=samples.POD, metadata=metadata, labels={rm.MADE: "true"})
    mine, other = (node.base / "log" / "pods" / name for name in ("web_0123456789ab", "web_other"))
    for folder in (mine, other):
        folder.mkdir(parents=True)
    with node.serving({**ANSWERS, manager.LIST_SANDBOXES: lambda _: ListPodSandboxResponse(items=[made])}):
        assert node.cribus("rm", "web") == 0
    assert [mine.exists(), other.exists()] == [False, True]
