"""A storm's own course: who may make one, when it ends, what is counted and what is left."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cribus.cli.storm import image, leaks, plan, proof, storm, watch
from cribus.cli.storm.evidence import Finding, Hit, Lived
from cribus.cli.storm.lives import Living
from cribus.cli.storm.others import Others
from cribus.cli.storm.storm import Storm, Wish
from cribus.cli.storm.victims import Own
from cribus.cli.supervisor import control
from cribus.cli.supervisor.control import Program
from cribus.config import Settings
from cribus.errors import FailedPrecondition
from cribus.gateway.cri import api_pb2 as pb

from tests.unit.cli.storm import made
from tests.unit.cli.storm.cri import serving

WISH = Wish(seed=1, seconds=60, kills=0, pods=2, kinds=["images"])


class Heard:
    """What was shown."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.lives: list[Lived] = []
        self.hits: list[Hit] = []

    def phase(self, text: str) -> None: ...

    def lived(self, lived: Lived) -> None:
        self.lives.append(lived)

    def hit(self, hit: Hit) -> None:
        self.hits.append(hit)

    def found(self, finding: Finding) -> None:
        self.findings.append(finding)


def _storm(tmp_path: Path, **wish: Any) -> tuple[Storm, Heard]:
    heard = Heard()
    return Storm(Settings(run=str(tmp_path), root=str(tmp_path)), WISH._replace(**wish), heard), heard


class Strikes:
    """A striker; the node does not recover from the `trouble_at`-th strike."""

    def __init__(self, trouble_at: int = 0) -> None:
        self.made: list[plan.Strike] = []
        self._trouble_at = trouble_at

    async def strike(self, planned: plan.Strike, since: float) -> Hit:
        self.made.append(planned)
        trouble = "it is dead" if len(self.made) == self._trouble_at else ""
        return Hit(planned, 0.0, {"images": 7, "nats": 8}, trouble=trouble)


def test_strikes_end_with_enough_kills(tmp_path: Path) -> None:
    one, heard = _storm(tmp_path, kills=5)
    striker = Strikes()
    asyncio.run(one._strikes(striker))  # type: ignore[arg-type]
    assert striker.made == [plan.strike(1, k, ["images"]) for k in (1, 2, 3)]
    assert len(heard.hits) == 3
    assert one.over.is_set()


def test_strikes_end_with_a_node_that_does_not_recover(tmp_path: Path) -> None:
    one, heard = _storm(tmp_path)
    asyncio.run(one._strikes(Strikes(trouble_at=2)))  # type: ignore[arg-type]
    assert heard.findings == [Finding(proof.STUCK, "it is dead")]
    assert len(heard.hits) == 2


class Lives:
    """In place of Living: a life that was lived as `lived` says."""

    def __init__(self, lived: Lived) -> None:
        self.lived = lived
        self.forgotten = False

    async def live(self) -> Lived:
        return self.lived

    def forget(self) -> None:
        self.forgotten = True


def _live(one: Storm, lived: Lived) -> Lives:
    living = Lives(lived)
    asyncio.run(one._live(living))  # type: ignore[arg-type]
    return living


def test_a_life_is_counted_proven_and_forgotten(tmp_path: Path) -> None:
    one, heard = _storm(tmp_path)
    assert _live(one, made.lived()).forgotten
    assert heard.findings == []
    assert one._counts == {"pods": 1, "containers": 1, "images": 0, "lines": 5, "exit codes": 1, "commands": 1}
    assert not one.over.is_set()


def test_one_with_findings_is_kept_and_some_are_too_many(tmp_path: Path) -> None:
    one, heard = _storm(tmp_path)
    for number in range(storm._LOST):
        assert not one.over.is_set()
        lived = made.lived()
        lived.name = f"storm-1-{number}"
        lived.ran[0].code = 0
        assert not _live(one, lived).forgotten
    assert len(heard.findings) == storm._LOST
    assert one.over.is_set()


def test_an_interrupt_ends_it(tmp_path: Path) -> None:
    one, _ = _storm(tmp_path)
    one.interrupt()
    assert one.over.is_set()
    assert one.interrupted


def test_one_storm_at_a_time(tmp_path: Path) -> None:
    settings = Settings(run=str(tmp_path))
    with (
        storm._alone(settings),
        pytest.raises(FailedPrecondition, match="a storm on this node already"),
        storm._alone(settings),
    ):
        pass
    with storm._alone(settings):
        pass


def test_only_pods_of_storms_are_removed(tmp_path: Path) -> None:
    """And their images, unless somebody else has named them too. Also those of one that was killed."""
    removed: list[str] = []

    def remove(request: Any) -> Any:
        removed.append(request.pod_sandbox_id)
        return pb.RemovePodSandboxResponse()

    def remove_image(request: Any) -> Any:
        removed.append(request.image.image)
        return pb.RemoveImageResponse()

    images = [
        pb.Image(id="sha256:3", repo_tags=["127.0.0.1:5000/web:v1", "localhost/cribus-chaos/1:v1"]),
        pb.Image(id="sha256:4", repo_digests=["127.0.0.1:5000/cribus-chaos/1@sha256:0"]),
        pb.Image(id="sha256:5", repo_tags=["127.0.0.1:5000/cribus-chaos/2:v1"]),
        pb.Image(id="sha256:6", repo_tags=["127.0.0.1:5000/cribus-chaos/3:v1", "localhost/mine:latest"]),
        pb.Image(id="sha256:7"),
    ]
    items = [
        pb.PodSandbox(id="1", metadata=pb.PodSandboxMetadata(name="web")),
        pb.PodSandbox(id="2", metadata=pb.PodSandboxMetadata(name="storm-9-4"), labels={plan.LABEL: "9"}),
    ]

    async def scenario() -> None:
        answers = {"ListPodSandbox": lambda _: pb.ListPodSandboxResponse(items=items), "RemovePodSandbox": remove}
        answers |= {"ListImages": lambda _: pb.ListImagesResponse(images=images), "RemoveImage": remove_image}
        async with serving(tmp_path, answers) as client:
            assert await storm._cleared(client) == ["pod storm-9-4", "image sha256:4", "image sha256:5"]

    asyncio.run(scenario())
    assert removed == ["2", "sha256:4", "sha256:5"]


def test_what_is_left_is_looked_for_until_it_goes_or_for_long_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = _storm(tmp_path)
    looks = [["file x"], []]

    async def keys(*_: object) -> list[str]:
        return []

    monkeypatch.setattr(leaks, "left", lambda *_: looks.pop(0))
    monkeypatch.setattr(leaks, "orphans", lambda _: {"link crb0"})
    monkeypatch.setattr(leaks, "keys", keys)
    before = storm._Before(Others({}, {}), {"link crb0"})
    assert asyncio.run(one._left(set(), before)) == []
    looks = [["file x"]]
    monkeypatch.setattr(storm, "_SETTLE", 0.0)
    assert asyncio.run(one._left(set(), before._replace(orphans=set()))) == ["file x", "link crb0"]


def test_a_service_that_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = _storm(tmp_path)
    programs = [Program("manager", "RUNNING", 1, 0, 0), Program("images", "FATAL", 0, 0, 0)]
    monkeypatch.setattr(control, "programs", lambda _: programs)
    assert asyncio.run(one._sick()) == ["service images is FATAL"]


@pytest.mark.parametrize("found", [[], [Finding(proof.LINES, "x")]])
def test_logs_of_what_went_wrong_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: list[Finding]
) -> None:
    one, _ = _storm(tmp_path)
    (tmp_path / "log").mkdir()

    async def nothing(*_: object) -> None:
        return None

    @contextlib.asynccontextmanager
    async def watching(*_: object) -> AsyncIterator[None]:
        yield None

    monkeypatch.setattr(image, "load", nothing)
    monkeypatch.setattr(image, "remove", nothing)
    monkeypatch.setattr(watch, "watching", watching)

    async def scenario() -> None:
        async with one._stage(None, None) as stage:  # type: ignore[arg-type]
            assert os.listdir(stage.folder) == []
            one._found(found)

    asyncio.run(scenario())
    assert len([*(tmp_path / "log").glob("chaos-1-*")]) == len(found)
    assert len(one._notes) == len(found)


def test_of_what_lives_the_oldest_is_first(tmp_path: Path) -> None:
    one, _ = _storm(tmp_path)
    for number in (5, 0):
        living = Living.__new__(Living)
        living.running = {f"c{number}": Own(f"p{number}", f"c{number}")}
        one._living[number] = living
    assert [own.pod for own in one._running()] == ["p0", "p5"]
