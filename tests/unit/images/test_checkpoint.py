import json
import os
import tarfile
from pathlib import Path

import pytest
from cribus.api.images import Capture, Fill, Pack, PackPod, Prepare, Unpack
from cribus.errors import CribusError, InvalidArgument, NotFound, ResourceExhausted
from cribus.images import checkpoint, rootfs

from tests.registry import Entry, tar
from tests.unit.images.world import World, run


def test_what_a_container_has_written(world: World, tmp_path: Path) -> None:
    async def work() -> None:
        node = world.node()
        upper, _ = node.snapshots.prepare("c1", {}, os.stat("/"))
        os.mkdir(f"{upper}/new")
        await checkpoint.capture(node, Capture(container="c1", path=str(tmp_path / "diff.tar")))
        with tarfile.open(tmp_path / "diff.tar") as tar:
            assert "new" in tar.getnames()
        with pytest.raises(NotFound):
            await checkpoint.capture(node, Capture(container="c2", path=str(tmp_path / "other.tar")))

    run(work)


def test_pack(world: World, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "config.dump").write_text("{}")

    async def work() -> None:
        await checkpoint.pack(world.node(), Pack(folder=str(tmp_path / "folder"), location=str(tmp_path / "a.tar")))

    run(work)
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.getnames() == ["config.dump"]


def test_an_archive_by_its_path_and_what_was_changed(world: World, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "config.dump").write_text("{}")

    async def work() -> str:
        node = world.node()
        upper, _ = node.snapshots.prepare("c1", {}, os.stat("/"))
        os.mkdir(f"{upper}/new")
        await checkpoint.capture(node, Capture(container="c1", path=f"{tmp_path}/in/rootfs-diff.tar"))
        await checkpoint.pack(node, Pack(folder=f"{tmp_path}/in", location=f"{tmp_path}/a.tar"))
        await checkpoint.unpack(node, Unpack(location=f"{tmp_path}/a.tar", folder=f"{tmp_path}/out"))
        other, _ = node.snapshots.prepare("c2", {}, os.stat("/"))
        await checkpoint.fill(node, Fill(container="c2", path=f"{tmp_path}/out/rootfs-diff.tar"))
        with pytest.raises(NotFound):
            await checkpoint.unpack(node, Unpack(location="/nowhere/a.tar", folder=f"{tmp_path}/out"))
        return other

    other: str = run(work)
    assert os.listdir(other) == ["new"]
    assert sorted(os.listdir(tmp_path / "out")) == ["config.dump", "rootfs-diff.tar"]


@pytest.mark.parametrize("says", [True, False])
def test_an_image_that_is_one(world: World, tmp_path: Path, says: bool) -> None:
    layer = tar([Entry("config.dump", b"{}")])
    world.push("box", layer)
    if says:
        for path in [one for one in world.served if "/manifests/" in one]:
            manifest = json.loads(world.served[path])
            manifest["annotations"] = {"org.criu.checkpoint.container.name": "box"}
            world.served["/v2/box/manifests/v1"] = json.dumps(manifest).encode()

    async def work() -> None:
        node = world.node()
        name = await world.pull(node, "box")
        prepared = await rootfs.prepare(node, Prepare(container="c1", image=name))
        assert prepared.checkpoint is says
        unpack = checkpoint.unpack(node, Unpack(location=name, folder=str(tmp_path)))
        if says:
            await unpack
        else:
            with pytest.raises(InvalidArgument, match="not the checkpoint of a container"):
                await unpack

    run(work)
    assert (tmp_path / "config.dump").exists() is says


def test_a_pod_is_packed_as_a_whole_or_not_at_all(world: World, tmp_path: Path) -> None:
    for name in ("folder/container-0", "folder/container-1", "out"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "folder/container-0/config.dump").write_text("{}")
    (tmp_path / "folder/pod.options").write_text("{}")
    asked = PackPod(
        folder=f"{tmp_path}/folder", location=f"{tmp_path}/out", logs={"container-0": "", "container-1": ""}
    )

    async def work() -> None:
        await checkpoint.pack_pod(world.node(), asked)
        assert sorted(os.listdir(tmp_path / "out")) == ["container-0.tar", "container-1.tar", "pod.options"]
        for name in os.listdir(tmp_path / "out"):
            os.unlink(f"{tmp_path}/out/{name}")
        os.mkdir(f"{tmp_path}/out/container-1.tar")  # in the way of the second
        os.mkdir(f"{tmp_path}/out/container-1.tar/x")
        with pytest.raises(CribusError):
            await checkpoint.pack_pod(world.node(), asked)

    run(work)
    assert "container-0.tar" not in os.listdir(tmp_path / "out")


def test_a_clean_up_that_fails_too_hides_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(node: object, request: dict[str, str]) -> None:
        raise NotFound("no such folder") if request["do"] == "pack_pod" else ResourceExhausted("no worker")

    async def work() -> None:
        with pytest.raises(NotFound, match="no such folder"):
            await checkpoint.pack_pod(world.node(), PackPod(folder="/no", location=str(tmp_path), until=1))

    monkeypatch.setattr(checkpoint, "_have", refuse)
    run(work)
    assert "archives are left" in caplog.text
