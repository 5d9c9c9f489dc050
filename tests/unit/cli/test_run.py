"""run: what is asked of whom, in which order, and that the pod is gone whatever happens."""

from pathlib import Path
from typing import Any

import pytest
from cribus.api import events, images, manager
from cribus.api.cri.container import (
    ContainerStatusResponse,
    CreateContainerResponse,
    StartContainerResponse,
)
from cribus.api.cri.image import ImageStatusResponse, PullImageResponse
from cribus.api.cri.sandbox import RemovePodSandboxResponse, RunPodSandboxResponse, StopPodSandboxResponse
from cribus.api.cri.values import ContainerState, NamespaceMode, Protocol
from cribus.api.events import Event
from cribus.cli import run
from cribus.cli.__main__ import parser
from cribus.config import Settings
from cribus.errors import FailedPrecondition, InvalidArgument

from tests.unit.cli import samples
from tests.unit.cli.conftest import Answers, Node


def _answers(node: Node) -> Answers:
    logs = {}

    def sandbox(request: Any) -> Any:
        logs["path"] = Path(request.config.log_directory) / run.LOG
        return RunPodSandboxResponse(pod_sandbox_id=samples.POD)

    async def start(_: Any) -> Any:
        logs["path"].write_text("2026-11-24T00:00:00.0Z stdout F hello from a pod\n")
        await node.bus["images"].publish(Event(kind=events.CONTAINER_STOPPED, id=samples.CONTAINER, at=1))
        return StartContainerResponse()

    ended = ContainerStatusResponse(status=samples.status(ContainerState.CONTAINER_EXITED, exit_code=7))
    return {
        images.STATUS: lambda _: ImageStatusResponse(image=samples.IMAGES[0]),
        images.PULL: lambda _: PullImageResponse(image_ref="x"),
        manager.RUN_SANDBOX: sandbox,
        manager.CREATE_CONTAINER: lambda _: CreateContainerResponse(container_id=samples.CONTAINER),
        manager.START_CONTAINER: start,
        manager.CONTAINER_STATUS: lambda _: ended,
        manager.STOP_SANDBOX: lambda _: StopPodSandboxResponse(),
        manager.REMOVE_SANDBOX: lambda _: RemovePodSandboxResponse(),
    }


def _kinds(node: Node) -> list[str]:
    return [type(one).__name__.removesuffix("Request") for one in node.asked]


def test_output_exit_code_and_nothing_left(node: Node, capfd: pytest.CaptureFixture[str]) -> None:
    with node.serving(_answers(node)):
        assert node.cribus("run", "busybox", "echo", "-n", "hello") == 7
    assert capfd.readouterr().out == "hello from a pod\n"
    assert _kinds(node) == [
        "ImageStatus",
        "RunPodSandbox",
        "CreateContainer",
        "StartContainer",
        "ContainerStatus",
        "StopPodSandbox",
        "RemovePodSandbox",
    ]
    assert node.asked[2].config.args == ["echo", "-n", "hello"]
    assert list((node.base / "log" / "pods").iterdir()) == []


def test_pulls_what_is_not_there(node: Node) -> None:
    answers = _answers(node)
    answers[images.STATUS] = lambda _: ImageStatusResponse()
    with node.serving(answers):
        assert node.cribus("run", "-q", "busybox") == 7
    assert _kinds(node)[1] == "PullImage"


def test_a_failed_start_leaves_no_pod(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: Any) -> Any:
        raise FailedPrecondition("no such program: nope")

    answers = _answers(node)
    answers[manager.START_CONTAINER] = fail
    with node.serving(answers):
        assert node.cribus("run", "busybox", "nope") == run.FAILED
    assert capsys.readouterr().err == "cribus: no such program: nope\n"
    assert _kinds(node)[-1] == "RemovePodSandbox"


def test_detached_and_kept(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    with node.serving(_answers(node)):
        assert node.cribus("run", "-d", "busybox") == 0
        assert capsys.readouterr().out == samples.CONTAINER + "\n"
        assert node.cribus("run", "--no-rm", "busybox") == 7
    assert "RemovePodSandbox" not in _kinds(node)


def test_what_the_command_line_describes() -> None:
    given = parser("run").parse_args(
        ["--name", "web", "-e", "A=b=c", "-p", "8080:80", "--privileged", "--host-network", "-it", "img", "--rm", "-x"]
    )
    given.stdin = given.tty = given.both
    pod = run.pod_config(given, Settings(root="/r"))
    assert pod.metadata is not None
    assert (pod.metadata.name, pod.log_directory, pod.hostname) == (
        "web",
        f"/r/log/pods/web_{pod.metadata.uid[:12]}",
        "",
    )
    container = run.container_config(given)
    assert (container.args, container.stdin, container.tty) == (["--rm", "-x"], True, True)
    assert [(one.key, one.value) for one in container.envs] == [("A", b"b=c")]
    assert container.linux is not None
    security = container.linux.security_context
    assert security is not None
    assert security.namespace_options is not None
    assert security.privileged
    assert security.namespace_options.network == NamespaceMode.NODE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8080:80", ("", 8080, 80, Protocol.TCP)),
        ("80", ("", 80, 80, Protocol.TCP)),
        ("127.0.0.1:53:5353/udp", ("127.0.0.1", 53, 5353, Protocol.UDP)),
        ("[::1]:53:53", ("[::1]", 53, 53, Protocol.TCP)),
    ],
)
def test_ports(text: str, expected: tuple[str, int, int, Protocol]) -> None:
    found = run.port(text)
    assert (found.host_ip, found.host_port, found.container_port, found.protocol) == expected


@pytest.mark.parametrize("text", ["x:80", "80/icmp", "1:2:3:x", ""])
def test_bad_ports(text: str) -> None:
    with pytest.raises(InvalidArgument, match="8080:80"):
        run.port(text)


def test_bad_variables() -> None:
    with pytest.raises(InvalidArgument, match="NAME=VALUE"):
        run.variable("NAME")
