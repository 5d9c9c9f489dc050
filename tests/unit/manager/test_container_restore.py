"""CreateContainer from a checkpoint: what is taken from the archive, what is not, and what is left of it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cribus.api import executor, images
from cribus.api.cri import container as c
from cribus.api.cri.image import ImageSpec
from cribus.api.verb import Empty
from cribus.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound
from cribus.manager import container_remove, container_restore, container_start
from cribus.manager.reconcile import reconcile

from tests.unit.manager.conftest import IMAGE, Run, World

CONFIG: dict[str, Any] = {"id": "x", "rootfsImageRef": IMAGE, "rootfsImage": "other"}
SPEC: dict[str, Any] = {
    "process": {"args": ["evil"], "capabilities": {"bounding": ["CAP_SYS_ADMIN"]}},
    "mounts": [{"destination": "/proc", "type": "proc"}, {"destination": "/etc/hosts", "type": "bind"}],
    "annotations": {"dev.cribus.record": "{}"},
}
Unpacks = Callable[..., None]


@pytest.fixture
def archive(world: World) -> Unpacks:
    """What is in the archive; `None`: not there."""

    def has(config: Any = CONFIG, spec: Any = SPEC, changes: bool = True) -> None:
        def unpack(request: images.Unpack) -> Empty:
            folder = Path(request.folder)
            for name, content in (("config.dump", config), ("spec.dump", spec)):
                if content is not None:
                    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
            if changes:
                (folder / "rootfs-diff.tar").touch()
            return Empty()

        world.answers["images.unpack"] = unpack

    has()
    return has


def left(world: World) -> list[str]:
    folder = Path(container_restore.home(world.node))
    return os.listdir(folder) if folder.exists() else []


def spec_of(world: World, id: str) -> Any:
    return json.loads(Path(world.node.container_dir(id), "config.json").read_text())


async def made(world: World, image: str = "/tmp/box.tar", **more: Any) -> str:
    return await world.created(await world.pod(), image=ImageSpec(image=image), command=["sh"], **more)


def test_the_life_of_one(world: World, run: Run, archive: Unpacks) -> None:
    async def story() -> None:
        id = await made(world)
        asked = dict(world.asked)
        folder = f"{container_restore.home(world.node)}/{id}"
        assert asked["images.unpack"] == images.Unpack(location="/tmp/box.tar", folder=folder)
        assert asked["images.prepare"] == images.Prepare(container=id, image=IMAGE)
        assert asked["images.fill"] == images.Fill(container=id, path=f"{folder}/rootfs-diff.tar")
        spec = spec_of(world, id)
        assert spec["process"]["args"] == ["sh"]
        assert "CAP_SYS_ADMIN" not in spec["process"]["capabilities"]["bounding"]
        assert left(world) == [id]
        await container_start.start(world.node, c.StartContainerRequest(container_id=id))
        create = next(one for name, one in world.asked if name == "executor.create")
        assert create.restore == folder
        assert left(world) == []

    run(story())


def test_an_image_that_is_a_checkpoint(world: World, run: Run, archive: Unpacks) -> None:
    real = world.images_prepare

    def prepare(request: images.Prepare) -> images.Prepared:
        return images.Prepared(checkpoint=True) if request.image == "box:1" else real(request)

    world.answers["images.prepare"] = prepare

    async def story() -> None:
        await made(world, "box:1")
        order = [name for name in world.names() if name.startswith("images.")]
        assert order == ["images.prepare", "images.discard", "images.unpack", "images.prepare", "images.fill"]

    run(story())


def test_without_changes(world: World, run: Run, archive: Unpacks) -> None:
    archive(changes=False)

    async def story() -> None:
        await made(world)
        assert "images.fill" not in world.names()

    run(story())


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"config": None}, InvalidArgument),
        ({"config": "{"}, InvalidArgument),
        ({"config": "[" * 100_000}, InvalidArgument),
        ({"config": []}, InvalidArgument),
        ({"config": {}}, InvalidArgument),
        ({"config": {"rootfsImage": "nobody:1"}}, NotFound),
        ({"spec": None}, InvalidArgument),
        ({"spec": {"mounts": [{"destination": "/data", "type": "bind"}]}}, InvalidArgument),
        ({"spec": {"mounts": [{"destination": ["x"], "type": "tmpfs"}, 5]}}, InvalidArgument),
    ],
)
def test_an_archive_that_is_none(
    world: World, run: Run, archive: Unpacks, content: dict[str, Any], error: type[Exception]
) -> None:
    archive(**content)

    async def story() -> None:
        with pytest.raises(error):
            await made(world)
        assert left(world) == []
        assert world.layers == set()
        assert world.node.records.containers == {}

    run(story())


def test_one_that_cannot_be_unpacked(world: World, run: Run) -> None:
    async def story() -> None:
        world.fail["images.unpack"] = [DataLoss("no tar stream")]
        with pytest.raises(DataLoss):
            await made(world)
        assert left(world) == []

    run(story())


def test_a_host_without_criu(world: World, run: Run, archive: Unpacks) -> None:
    world.answers["executor.criu"] = lambda _: executor.Criu(missing="no criu")

    async def story() -> None:
        with pytest.raises(FailedPrecondition, match="this host cannot checkpoint or restore: no criu"):
            await made(world)
        assert "images.unpack" not in world.names()

    run(story())


def test_a_removal_takes_it_along(world: World, run: Run, archive: Unpacks) -> None:
    async def story() -> None:
        id = await made(world)
        await container_remove.remove(world.node, c.RemoveContainerRequest(container_id=id))
        assert left(world) == []

    run(story())


def test_a_start_of_the_manager_keeps_it_and_clears_what_is_nobodys(world: World, run: Run, archive: Unpacks) -> None:
    async def story() -> None:
        id = await made(world)
        for stray in (f"{container_restore.home(world.node)}/stray", f"{world.settings.root}/checkpoints/stray"):
            os.makedirs(f"{stray}/deep")
        await reconcile(await world.restart())
        assert left(world) == [id]
        assert os.listdir(f"{world.settings.root}/checkpoints") == []

    run(story())
