"""CheckpointPod: all stand still at once, all go on, and what is packed."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from cribus import log
from cribus.api import executor, images
from cribus.api.cri import sandbox as s
from cribus.api.verb import Empty
from cribus.errors import FailedPrecondition, Internal, InvalidArgument, NotFound
from cribus.manager import container_checkpoint, sandbox_checkpoint, sandbox_stop

from tests.unit.manager.conftest import Run, World


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "place"
    made.mkdir()
    return made


async def two(world: World) -> tuple[str, list[str]]:
    pod = await world.pod()
    return pod, [await world.running(pod, "one"), await world.running(pod, "two")]


def ask(world: World, pod: str, ids: list[str], place: Path, **more: Any) -> Any:
    fields = {"pod_sandbox_id": pod, "container_ids": ids, "output_path": str(place), **more}
    return sandbox_checkpoint.checkpoint(world.node, s.CheckpointPodRequest(**fields))


def work(world: World) -> list[str]:
    kinds = ("pause", "checkpoint", "resume", "pack_pod")
    return [name.partition(".")[2] for name in world.names() if name.partition(".")[2] in kinds]


def test_one_cut_through_all(world: World, run: Run, place: Path) -> None:
    packed: dict[str, Any] = {}

    def pack(request: images.PackPod) -> Empty:
        assert request.location == str(place)
        packed.update(json.loads(Path(request.folder, "pod.options").read_text())["containers"])
        for called, name in packed.items():
            config = json.loads(Path(request.folder, name, "config.dump").read_text())
            assert config["name"] == called
            assert request.logs[name] == f"/logs/pod/{called}.log"
        return Empty()

    world.answers["images.pack_pod"] = pack

    async def story() -> None:
        pod, ids = await two(world)
        await ask(world, pod, ids, place)
        assert work(world) == ["pause", "pause", "checkpoint", "checkpoint", "resume", "resume", "pack_pod"]
        assert set(packed) == {"one", "two"}
        assert os.listdir(container_checkpoint.home(world.node)) == []

    run(story())


@pytest.mark.parametrize("step", ["executor.pause", "executor.checkpoint", "images.capture", "images.pack_pod"])
def test_whatever_fails_all_go_on(world: World, run: Run, place: Path, step: str) -> None:
    async def story() -> None:
        pod, ids = await two(world)
        world.fail[step] = [Internal("no luck")]
        with pytest.raises(Internal, match="no luck"):
            await ask(world, pod, ids, place)
        assert work(world).count("resume") == 2
        assert os.listdir(container_checkpoint.home(world.node)) == []

    run(story())


def test_wrong_requests(world: World, run: Run, place: Path) -> None:
    async def story() -> None:
        pod, ids = await two(world)
        other = await world.running(await world.pod("other"), "foreign")
        idle = await world.created(pod, "idle")
        for fields, error in (
            ({"ids": []}, InvalidArgument),
            ({"ids": [ids[0], ids[0]]}, InvalidArgument),
            ({"ids": [other]}, FailedPrecondition),
            ({"ids": [*ids, idle]}, FailedPrecondition),
            ({"ids": ["nobody"]}, NotFound),
            ({"pod": "nobody"}, NotFound),
            ({"options": {"a": "b"}}, InvalidArgument),
            ({"place": Path("relative")}, InvalidArgument),
            ({"place": world.base}, InvalidArgument),
        ):
            given: dict[str, Any] = {"pod": pod, "ids": ids, "place": place, **fields}
            with pytest.raises(error):
                await ask(world, **given)
        assert work(world) == []
        await sandbox_stop.stop(world.node, s.StopPodSandboxRequest(pod_sandbox_id=pod))
        with pytest.raises(FailedPrecondition, match="only a ready one"):
            await ask(world, pod, ids, place)

    run(story())


def test_a_host_without_criu(world: World, run: Run, place: Path) -> None:
    world.answers["executor.criu"] = lambda _: executor.Criu(missing="no criu")

    async def story() -> None:
        pod, ids = await two(world)
        with pytest.raises(FailedPrecondition, match="this host cannot checkpoint or restore: no criu"):
            await ask(world, pod, ids, place)
        assert work(world) == []

    run(story())


def test_it_ends_before_the_client_gives_up() -> None:
    with log.ids(until=str(time.monotonic_ns() + 10 * 10**9)):
        assert 8 < sandbox_checkpoint.seconds() < 9.5
    with log.ids(until=str(time.monotonic_ns())):
        assert sandbox_checkpoint.seconds() == 0.1
