"""What ran before a storm, and what became of it."""

import asyncio
from typing import Any

import msgspec
from cribus.api import manager, shimd
from cribus.api.cri.container import ContainerStatusResponse, ListContainersResponse
from cribus.api.cri.sandbox import ListPodSandboxResponse, PodSandbox, PodSandboxMetadata
from cribus.api.cri.values import ContainerState
from cribus.bus import service
from cribus.cli.storm import others
from cribus.cli.storm.others import Others
from cribus.errors import NotFound

from tests.unit.cli import samples
from tests.unit.cli.conftest import Answers, Node, node

__all__ = ["node"]
STORM = PodSandbox(id="5" * 64, metadata=PodSandboxMetadata(name="storm-1-1"), labels={"cribus.chaos": "1"})
INSIDE = msgspec.structs.replace(samples.CONTAINERS[0], id="6" * 64, pod_sandbox_id=STORM.id)
BEFORE = Others({samples.POD: "web"}, {samples.CONTAINER: "web/main"})


def _answers(*containers: Any, code: int = 0, shims: tuple[str, ...] = (samples.POD,)) -> Answers:
    return {
        manager.LIST_SANDBOXES: lambda _: ListPodSandboxResponse(items=[*samples.PODS, STORM]),
        manager.LIST_CONTAINERS: lambda _: ListContainersResponse(containers=[*containers, INSIDE]),
        manager.CONTAINER_STATUS: lambda _: ContainerStatusResponse(
            status=samples.status(ContainerState.CONTAINER_EXITED, exit_code=code)
        ),
        shimd.LIST_SHIMS: lambda _: shimd.Shims(pids=dict.fromkeys(shims, 7)),
    }


def _asked(node: Node, answers: Answers) -> tuple[Others, tuple[list[str], list[str]]]:
    async def scenario() -> tuple[Others, tuple[list[str], list[str]]]:
        async with service.connect(node.settings, "cli") as bus:
            now = await others.running(bus)
            return now, await others.ended(bus, BEFORE, now)

    with node.serving(answers):
        return asyncio.run(scenario())


def test_who_runs_on(node: Node) -> None:
    now, said = _asked(node, _answers(samples.CONTAINERS[0]))
    assert now == BEFORE
    assert said == ([], [])


def test_who_ended_meanwhile(node: Node) -> None:
    over = msgspec.structs.replace(samples.CONTAINERS[0], state=ContainerState.CONTAINER_EXITED)
    _, (wrong, notes) = _asked(node, _answers(over, code=3))
    assert wrong == []
    assert notes == [f"web/main ended meanwhile, with exit code 3; `cribus why {samples.CONTAINER[:13]}` says why"]


def test_whose_end_nobody_saw(node: Node) -> None:
    over = msgspec.structs.replace(samples.CONTAINERS[0], state=ContainerState.CONTAINER_EXITED)
    _, (wrong, _) = _asked(node, _answers(over, code=others.UNKNOWN))
    assert ["exit code 255" in one for one in wrong] == [True]


def test_who_was_removed_meanwhile(node: Node) -> None:
    _, said = _asked(node, _answers())
    assert said == ([], ["web/main was removed meanwhile"])


def test_who_was_removed_just_now(node: Node) -> None:
    def gone(_: object) -> None:
        raise NotFound("no such container")

    over = msgspec.structs.replace(samples.CONTAINERS[0], state=ContainerState.CONTAINER_EXITED)
    _, said = _asked(node, {**_answers(over), manager.CONTAINER_STATUS: gone})
    assert said == ([], ["web/main was removed meanwhile"])


def test_who_has_no_shim(node: Node) -> None:
    _, (wrong, _) = _asked(node, _answers(samples.CONTAINERS[0], shims=()))
    assert wrong == ["pod web has no shim"]
