"""One life against a server that plays the node: what is asked, in which order, and what is noted."""

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cribus.api import events
from cribus.api.events import Event
from cribus.cli.storm import image, lives, plan, proof
from cribus.cli.storm.client import Client
from cribus.cli.storm.evidence import Command, Lived, Pulled
from cribus.cli.storm.lives import Living, Stage
from cribus.cli.storm.registry import Registry
from cribus.cli.storm.watch import Watch
from cribus.gateway.cri import api_pb2 as pb

from tests.unit.cli.storm.cri import Refused, serving


class Node:
    """Makes one container and writes its log; `refuses` are calls that fail, with their codes."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.watch = Watch(("cribus.chaos", "1"))
        self.asked: list[str] = []
        self.requests: list[Any] = []
        self.refuses: dict[str, list[str]] = {}
        self.code = 0
        self.log = Path()
        self.registry = Registry()
        self.answered = ""  # to a pull
        self.kept = ""  # the image that is there after its removal

    def answers(self) -> dict[str, Any]:
        return {name: lambda request, name=name: self._answer(name, request) for name in _ANSWERS}

    def _answer(self, name: str, request: Any) -> Any:
        self.asked.append(name)
        self.requests.append(request)
        if self.refuses.get(name):
            raise Refused(self.refuses[name].pop(0))
        if name == "CreateContainer":
            self.log = Path(request.sandbox_config.log_directory, request.config.log_path)
        if name == "StartContainer":
            self.write("line 1", "line 2")
            self.watch.take(1, Event(kind=events.CONTAINER_STOPPED, id="c", pod="p", at=1))
        answer = _ANSWERS[name]
        return answer(self) if callable(answer) else answer

    def write(self, *said: str) -> None:
        with self.log.open("a") as log:
            log.writelines(f"2026-11-25T08:00:00Z stdout F {one}\n" for one in said)


_ANSWERS: dict[str, Any] = {
    "RunPodSandbox": pb.RunPodSandboxResponse(pod_sandbox_id="p"),
    "CreateContainer": pb.CreateContainerResponse(container_id="c"),
    "StartContainer": pb.StartContainerResponse(),
    "ExecSync": pb.ExecSyncResponse(stdout=b"storm-1-1\n", exit_code=5),
    "ReopenContainerLog": pb.ReopenContainerLogResponse(),
    "StopContainer": pb.StopContainerResponse(),
    "ContainerStatus": lambda node: pb.ContainerStatusResponse(status=pb.ContainerStatus(exit_code=node.code)),
    "RemoveContainer": pb.RemoveContainerResponse(),
    "StopPodSandbox": pb.StopPodSandboxResponse(),
    "PullImage": lambda node: pb.PullImageResponse(image_ref=node.answered),
    "RemoveImage": pb.RemoveImageResponse(),
    "ImageStatus": lambda node: pb.ImageStatusResponse(image=pb.Image(id=node.kept)),
    "RemovePodSandbox": pb.RemovePodSandboxResponse(),
}


def _life(end: str, *deeds: plan.Deed, lines: int = 2, hasty: dict[str, int] | None = None) -> plan.Life:
    code = 3 if end in (plan.EXIT, plan.TERM) else plan.KILLED
    return plan.Life(1, (plan.Container(end, code, lines, 500, False, deeds),), hasty or {})


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def _stage(node: Node, client: Client) -> Stage:
    return Stage(client, node.watch, 1, "image", f"{node.base}/chaos-1-x", node.registry)


def _live(node: Node, life: plan.Life) -> Lived:
    async def scenario() -> Lived:
        async with serving(node.base, node.answers()) as client:
            return await Living(_stage(node, client), life).live()

    return asyncio.run(scenario())


UP = ["RunPodSandbox", "CreateContainer", "StartContainer"]
DOWN = ["ContainerStatus", "RemoveContainer", "StopPodSandbox", "RemovePodSandbox"]


@pytest.mark.parametrize(
    ("end", "asked"),
    [
        (plan.EXIT, [*UP, *DOWN]),
        (plan.TERM, [*UP, "StopContainer", *DOWN]),
        (plan.KILL, [*UP, "StopContainer", *DOWN]),
        (plan.REMOVE, [*UP, "RemovePodSandbox"]),
    ],
)
def test_a_life(node: Node, end: str, asked: list[str]) -> None:
    node.code = 9
    lived = _live(node, _life(end))
    assert node.asked == asked
    assert (lived.over, lived.trouble, lived.pod) == (True, "", "p")
    (ran,) = lived.ran
    assert (ran.id, ran.started, ran.code) == ("c", True, None if end == plan.REMOVE else 9)
    assert ran.text.count("\n") == 2
    pod = node.requests[0].config
    assert dict(pod.labels) == {"cribus.chaos": "1"}
    assert (pod.metadata.namespace, pod.metadata.name) == ("cribus-chaos", "storm-1-1")
    for one in node.requests:
        if isinstance(one, pb.StopContainerRequest):
            assert one.timeout == (20 if end == plan.TERM else 0)


def test_deeds(node: Node) -> None:
    lived = _live(node, _life(plan.KILL, plan.Deed(plan.EXEC, 5), plan.Deed(plan.ROTATE), plan.Deed(plan.EXEC, 6)))
    assert node.asked[3:6] == ["ExecSync", "ReopenContainerLog", "ExecSync"]
    assert lived.ran[0].commands == [
        Command(("storm-1-1", 5), ("storm-1-1", 5)),
        Command(("storm-1-1", 6), ("storm-1-1", 5)),  # which the proof will find
    ]
    assert lived.ran[0].text.count("\n") == 2  # of the log that was renamed


def test_a_command_in_a_container_that_may_end_at_any_time(node: Node) -> None:
    node.refuses["ExecSync"] = ["FAILED_PRECONDITION"]
    assert _live(node, _life(plan.EXIT, plan.Deed(plan.EXEC, 5))).trouble == ""
    node.refuses["ExecSync"] = ["FAILED_PRECONDITION"]
    (node.base / "chaos-1-x" / "storm-1-1" / "0.log").unlink()
    os.rmdir(node.base / "chaos-1-x" / "storm-1-1")
    assert "ExecSync" in _live(node, _life(plan.KILL, plan.Deed(plan.EXEC, 5))).trouble


PULL = plan.Pull((10, 20), {})
NAMED = pb.ImageSpec(image="127.0.0.1:1/cribus-chaos/1:v1")


def _pulling(node: Node, **hasty: int) -> Lived:
    node.registry.host = "127.0.0.1:1"
    return _live(node, msgspec.structs.replace(_life(plan.REMOVE, hasty=hasty), pull=PULL))


def test_a_life_of_an_image_that_is_pulled_and_removed(node: Node) -> None:
    made = image.make("storm-1-1", PULL)
    node.answered = made.id
    lived = _pulling(node)
    assert node.asked == ["PullImage", *UP, "RemovePodSandbox", "RemoveImage", "ImageStatus"]
    pull, create, remove, status = (node.requests[at] for at in (0, 2, 5, 6))
    assert pull.image == create.config.image == remove.image == status.image == NAMED
    assert plan.SUMS in create.config.command[2]
    assert lived.pulled == Pulled(NAMED.image, made.id, made.own, made.id)
    assert node.registry._offers == {}
    assert proof.of(lived) == []


def test_an_image_that_is_another_or_stays(node: Node) -> None:
    node.answered = node.kept = "sha256:1"
    assert [one.check for one in proof.of(_pulling(node))] == [proof.IMAGES, proof.IMAGES]


def test_a_pull_of_somebody_in_a_hurry(node: Node) -> None:
    node.refuses["PullImage"] = ["DEADLINE_EXCEEDED", "UNAVAILABLE"]
    assert _pulling(node, PullImage=10_000).over
    assert node.asked[:4] == ["PullImage", "PullImage", "PullImage", "RunPodSandbox"]


def test_who_was_in_a_hurry_asks_again(node: Node) -> None:
    node.refuses["CreateContainer"] = ["DEADLINE_EXCEEDED"]
    assert _live(node, _life(plan.KILL, hasty={"CreateContainer": 10_000})).over
    assert node.asked.count("CreateContainer") == 2
    assert node.asked.count("StartContainer") == 1


@pytest.mark.parametrize(
    ("end", "hasty", "over"), [(plan.EXIT, True, True), (plan.EXIT, False, False), (plan.TERM, True, False)]
)
def test_one_that_is_over_when_it_is_started_again(node: Node, end: str, hasty: bool, over: bool) -> None:
    node.refuses["StartContainer"] = [*(["DEADLINE_EXCEEDED"] if hasty else []), "FAILED_PRECONDITION"]
    life = _life(end, lines=0, hasty={"StartContainer": 10_000} if hasty else {})
    node.watch.take(1, Event(kind=events.CONTAINER_STOPPED, id="c", pod="p", at=1))
    assert _live(node, life).over is over


def test_a_name_that_is_taken_is_trouble(node: Node) -> None:
    node.refuses["CreateContainer"] = ["DEADLINE_EXCEEDED", "ALREADY_EXISTS"]
    assert "CreateContainer" in _live(node, _life(plan.KILL, hasty={"CreateContainer": 10_000})).trouble


def test_what_does_not_succeed_ends_a_life(node: Node) -> None:
    node.refuses["StopContainer"] = ["NOT_FOUND"]
    lived = _live(node, _life(plan.TERM))
    assert not lived.over
    assert lived.trouble.startswith("StopContainer: ")
    assert lived.ran[0].text.count("\n") == 2


def test_lines_that_do_not_come(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lives, "PATIENCE", 0.1)
    lived = _live(node, _life(plan.KILL, lines=3))
    assert lived.trouble == "container c wrote 2 lines, not 3, within 0.1 s"


def test_a_container_is_held_until_it_may_end(node: Node) -> None:
    async def scenario() -> None:
        hold = asyncio.Event()
        async with serving(node.base, node.answers()) as client:
            living = Living(_stage(node, client), _life(plan.TERM), hold)
            task = asyncio.create_task(living.live())
            await living.begun.wait()
            (own,) = living.running.values()
            assert own == ("p", "c")
            hold.set()
            assert (await task).over
            assert living.running == {}
            living.forget()
            assert not node.log.exists()

    asyncio.run(scenario())


def test_files_of_a_log_in_order(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    for name in ("0.log.20", "0.log.10", "1.log", "0.log"):
        (tmp_path / name).touch()
    assert lives.files(str(log)) == [str(tmp_path / name) for name in ("0.log.10", "0.log.20", "0.log")]
