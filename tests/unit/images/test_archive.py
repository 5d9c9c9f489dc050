"""Images to and from files."""

import json
import os
import tarfile
from pathlib import Path

import pytest
from cribus.api.images import Load, Save
from cribus.errors import CribusError, DataLoss, InvalidArgument, NotFound
from cribus.images import archive

from tests.registry import Entry, tar
from tests.unit.images.world import HOST, World, run

LAYERS = [tar([Entry(f"file{number}", os.urandom(200_000))]) for number in range(4)]
NAME = f"{HOST}/app:v1"


async def saved(world: World, path: Path) -> str:
    """An image pulled, saved and removed; its id."""
    world.push("app", *LAYERS)
    node = world.node()
    id = await world.pull(node, "app")
    await archive.save(node, Save(references=[NAME], path=str(path)))
    image = node.store.need(id)
    await node.store.remove(id)
    node.forget([image])
    assert node.content.sizes == {}
    return id


@pytest.mark.parametrize("form", ["tar", "folder", "docker", "gzip"])
def test_round_trip(world: World, tmp_path: Path, form: str) -> None:
    path = tmp_path / "saved.tar"
    kept = {"docker": {"manifest.json"}, "gzip": {"index.json", "oci-layout"}}.get(form, set())

    async def work() -> None:
        id = await saved(world, path)
        source = path
        if form != "tar":
            with tarfile.open(path) as packed:
                packed.extractall(tmp_path / "folder")
            source = tmp_path / "folder"
        if kept:
            source = tmp_path / "other.tar"
            with tarfile.open(source, "w:gz" if form == "gzip" else "w") as out:
                for one in [*kept, "blobs"]:
                    out.add(tmp_path / "folder" / one, one)
        node = world.node()
        assert (await archive.load(node, Load(path=str(source)))).references == [NAME]
        assert node.store.need(NAME).id == id
        assert len(node.snapshots.layers) == 4

    run(work)


def test_an_image_without_a_name(world: World, tmp_path: Path) -> None:
    path = tmp_path / "saved.tar"

    async def work() -> None:
        id = await saved(world, path)
        with tarfile.open(path) as packed:
            packed.extractall(tmp_path / "folder")
        index = json.loads((tmp_path / "folder/index.json").read_text())
        del index["manifests"][0]["annotations"]
        (tmp_path / "folder/index.json").write_text(json.dumps(index))
        node = world.node()
        assert (await archive.load(node, Load(path=str(tmp_path / "folder")))).references == [id]
        found = await archive.load(node, Load(path=str(tmp_path / "folder"), reference="mine:1"))
        assert found.references == ["docker.io/library/mine:1"]

    run(work)


def bad(tmp_path: Path, **files: bytes) -> Path:
    folder = tmp_path / "bad"
    folder.mkdir()
    for name, data in files.items():
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder


BAD = {
    "nothing": ({}, InvalidArgument, "neither"),
    "no JSON": ({"index_json": b"x"}, InvalidArgument, "JSON"),
    "a blob is missing": (
        {"index_json": b'{"manifests": [{"digest": "sha256:%s"}]}' % (b"a" * 64)},
        NotFound,
        "incomplete",
    ),
    "outside": ({"manifest_json": b'[{"Config": "../../etc/passwd", "Layers": []}]'}, InvalidArgument, "outside"),
    "a strange list": ({"manifest_json": b'{"Config": 1}'}, InvalidArgument, "manifest.json"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad(world: World, tmp_path: Path, what: str) -> None:
    files, kind, says = BAD[what]
    folder = bad(tmp_path, **files)

    async def work() -> None:
        with pytest.raises(CribusError, match=says) as caught:
            await archive.load(world.node(), Load(path=str(folder)))
        assert isinstance(caught.value, kind)

    run(work)


def test_a_link_of_a_folder_leads_nowhere_else(world: World, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("[]")
    folder = bad(tmp_path)
    (folder / "manifest.json").symlink_to(tmp_path / "secret")

    async def work() -> None:
        with pytest.raises(InvalidArgument, match="neither"):
            await archive.load(world.node(), Load(path=str(folder)))

    run(work)


def test_a_cut_tar(world: World, tmp_path: Path) -> None:
    path = tmp_path / "saved.tar"

    async def work() -> None:
        await saved(world, path)
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(DataLoss, match="cannot be read"):
            await archive.load(world.node(), Load(path=str(path)))

    run(work)


def test_what_cannot_be_saved(world: World, tmp_path: Path) -> None:
    async def work() -> None:
        node = world.node()
        with pytest.raises(NotFound):
            await archive.save(node, Save(references=["none"], path=str(tmp_path / "x")))
        with pytest.raises(InvalidArgument, match="no image is named"):
            await archive.save(node, Save(references=[], path=str(tmp_path / "x")))
        world.push("app", LAYERS[0])
        await world.pull(node, "app")
        with pytest.raises(InvalidArgument, match="absolute"):
            await archive.save(node, Save(references=[NAME], path="x"))
        assert "x" not in os.listdir(tmp_path)

    run(work)
