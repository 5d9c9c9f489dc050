"""RestorePod: the request and the checkpoint must be of the same; after an error nothing is left."""

import json
from pathlib import Path
from typing import Any

import pytest
from cribus.api import executor, images
from cribus.api.cri import container as c
from cribus.api.verb import Empty
from cribus.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from cribus.manager import sandbox_remove, sandbox_restore
from cribus.manager.records import State

from tests.unit.manager.conftest import Run, World, container_config, pod_config

IMAGE_ID = "sha256:" + "1" * 64
PROCESS: dict[str, Any] = {
    "args": ["sh"],
    "cwd": "/",
    "user": {"uid": 0, "gid": 0, "additionalGids": [0]},
    "env": ["PATH=/bin", "HOSTNAME=of-before"],
}


@pytest.fixture
def place(world: World, tmp_path: Path) -> Path:
    """What CheckpointPod has written; each archive has the same in it."""
    made = tmp_path / "place"
    made.mkdir()
    options(made, one="container-0", two="container-1")
    archive(world)
    return made


def options(place: Path, **names: str) -> None:
    (place / "pod.options").write_text(json.dumps({"version": 1, "containers": names}))


def archive(world: World, image: str = IMAGE_ID, **process: Any) -> None:
    def unpack(request: images.Unpack) -> Empty:
        Path(request.folder, "config.dump").write_text(json.dumps({"rootfsImageRef": image}))
        Path(request.folder, "spec.dump").write_text(json.dumps({"process": {**PROCESS, **process}}))
        return Empty()

    world.answers["images.unpack"] = unpack


def ask(world: World, place: Path | str, **more: Any) -> Any:
    configs = [container_config(name) for name in ("one", "two")]
    known = {"checkpoint_path": str(place), "config": pod_config("again"), "container_configs": configs, **more}
    return sandbox_restore.restore(world.node, c.RestorePodRequest(**known))


def test_a_pod_with_created_containers(world: World, run: Run, place: Path) -> None:
    async def story() -> None:
        made = await ask(world, place)
        assert world.node.records.sandboxes[made.pod_sandbox_id].state is State.READY
        names = {one.name: world.node.records.containers[one.container_id] for one in made.restored_containers}
        assert {name: one.state for name, one in names.items()} == {"one": State.CREATED, "two": State.CREATED}
        assert names["two"].checkpoint == f"{place}/container-1.tar"
        assert names["two"].restore.endswith(names["two"].id)
        assert "executor.create" not in world.names()

    run(story())


@pytest.mark.parametrize(
    "process", [{"args": ["evil"]}, {"cwd": "/tmp"}, {"user": {"uid": 5}}, {"env": ["PATH=/evil"]}, {"env": None}]
)
def test_another_process_than_the_requests(world: World, run: Run, place: Path, process: dict[str, Any]) -> None:
    archive(world, **process)

    async def story() -> None:
        with pytest.raises(FailedPrecondition, match="not those of the process"):
            await ask(world, place)
        assert world.clean()

    run(story())


def test_another_image_than_the_requests(world: World, run: Run, place: Path) -> None:
    archive(world, image="sha256:" + "9" * 64)

    async def story() -> None:
        with pytest.raises(FailedPrecondition, match="the checkpoint is of image"):
            await ask(world, place)
        assert world.clean()

    run(story())


def test_wrong_requests(world: World, run: Run, place: Path) -> None:
    one = container_config("one")

    async def story() -> None:
        for fields, error in (
            ({"place": "relative"}, InvalidArgument),
            ({"container_configs": []}, InvalidArgument),
            ({"container_configs": [one, one]}, InvalidArgument),
            ({"container_configs": [c.ContainerConfig()]}, InvalidArgument),
            ({"container_configs": [one]}, FailedPrecondition),
            ({"options": {"a": "b"}}, InvalidArgument),
            ({"place": world.base / "nowhere"}, InvalidArgument),
        ):
            given: dict[str, Any] = {"place": place, **fields}
            with pytest.raises(error):
                await ask(world, **given)
        world.images.clear()
        with pytest.raises(NotFound):
            await ask(world, place)
        assert world.clean()

    run(story())


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[" * 100_000,
        "[]",
        "{}",
        '{"version": 2, "containers": {"one": "container-0", "two": "container-1"}}',
        '{"version": 1, "containers": []}',
        '{"version": 1, "containers": {"one": "../../etc/passwd", "two": "container-1"}}',
        '{"version": 1, "containers": {"one": 5, "two": "container-1"}}',
    ],
)
def test_no_checkpoint_of_a_pod(world: World, run: Run, place: Path, text: str) -> None:
    (place / "pod.options").write_text(text)

    async def story() -> None:
        with pytest.raises(InvalidArgument):
            await ask(world, place)
        assert "executor.create_pod" not in world.names()

    run(story())


def test_a_host_without_criu(world: World, run: Run, place: Path) -> None:
    world.answers["executor.criu"] = lambda _: executor.Criu(missing="no criu")

    async def story() -> None:
        with pytest.raises(FailedPrecondition, match="this host cannot checkpoint or restore: no criu"):
            await ask(world, place)
        assert "executor.create_pod" not in world.names()

    run(story())


def test_a_clean_up_that_fails_too_hides_nothing(
    world: World, run: Run, place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    archive(world, image="sha256:" + "9" * 64)

    async def refuse(*_: Any) -> None:
        raise Unavailable("the executor is away")

    monkeypatch.setattr(sandbox_remove, "remove", refuse)

    async def story() -> None:
        with pytest.raises(FailedPrecondition, match="the checkpoint is of image"):
            await ask(world, place)
        assert "a pod is left that was restored in part" in caplog.text

    run(story())
