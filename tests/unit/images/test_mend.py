"""Images that are not whole at the start: made again from their blobs, or given up."""

import os
import shutil
from pathlib import Path

import pytest
from cribus.api.cri.image import ImageSpec, ListImagesRequest, RemoveImageRequest
from cribus.api.images import Prepare
from cribus.errors import NotFound
from cribus.images import listing, mend, rootfs, snapshots
from cribus.images.node import Node

from tests.registry import Entry, tar
from tests.unit.images.world import World, digest, run

LOW = tar([Entry("etc", folder=True, mode=0o700), Entry("etc/passwd", b"root:x:0:0::/:/bin/sh\n")])
HIGH = tar([Entry("etc/new", b"new")])
NAME = "registry.test/app:v1"


async def pulled(world: World, quiet: float = 1000.0) -> Node:
    world.push("app", LOW, HIGH)
    node = world.node()
    node.quiet = quiet
    await world.pull(node, "app")
    return node


async def again(world: World) -> Node:
    """The service's next start, mended."""
    node = world.node()
    mend.begin(node)
    for image in list(node.store.images):
        await mend.until_whole(node, image)
    assert node.mending == {}
    return node


def stuff(node: Node) -> list[str]:
    return sorted(path for one in node.lower(node.store.need(NAME)) for path in os.listdir(one))


def test_layers_of_another_boot_are_made_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        node = await pulled(world)
        asked = len(world.asked)
        before = stuff(node)
        os.truncate(f"{node.snapshots.path(digest(LOW))}/etc/passwd", 0)
        monkeypatch.setattr(snapshots, "boot", lambda: "the next one")
        node = world.node()
        mend.begin(node)
        made = await rootfs.prepare(node, Prepare(container="c1", image=NAME))  # it waits
        assert made.passwd.startswith(b"root")
        assert stuff(node) == before
        assert len(world.asked) == asked

    run(work)


def test_layers_of_this_boot_and_those_on_the_disk_are_trusted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        node = await pulled(world, quiet=0.0)
        assert (await again(world)).snapshots.layers == node.snapshots.layers
        await node.settled.wait()
        assert node.snapshots.fresh == {}
        monkeypatch.setattr(snapshots, "boot", lambda: "the next one")
        there = world.node()
        assert there.snapshots.layers == node.snapshots.layers
        assert there.snapshots.fresh == {}

    run(work)


def test_what_cannot_be_mended_is_removed(world: World) -> None:
    async def work() -> None:
        node = await pulled(world)
        image = node.store.need(NAME)
        shutil.rmtree(world.root / "layers" / digest(LOW)[7:])
        node.content.path(digest(LOW)).write_bytes(b"x" * len(LOW))
        node = await again(world)
        with pytest.raises(NotFound):
            node.store.need(NAME)
        assert [event.kind for event in world.events] == ["image_pulled", "image_removed"]
        assert node.content.sizes == {}
        await world.pull(node, "app")
        assert node.store.need(NAME).id == image.id

    run(work)


@pytest.mark.parametrize("torn", ["layer", "config"])
def test_a_torn_blob_is_seen(world: World, torn: str) -> None:
    async def work() -> None:
        node = await pulled(world)
        blob = digest(HIGH) if torn == "layer" else node.store.need(NAME).id
        os.truncate(node.content.path(blob), 5)
        node = world.node()
        mend.begin(node)
        if torn == "config":
            assert (await listing.list_images(node, ListImagesRequest())).images == []
        node = await again(world)
        assert node.store.images == {}

    run(work)


def test_removed_while_it_is_mended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        await pulled(world)
        monkeypatch.setattr(snapshots, "boot", lambda: "the next one")
        node = world.node()
        mend.begin(node)
        await listing.remove(node, RemoveImageRequest(image=ImageSpec(image=NAME)))
        assert (node.store.images, node.snapshots.layers, node.content.sizes) == ({}, {}, {})
        assert list((world.root / "images").iterdir()) == []

    run(work)


FOREIGN = ("layers/lost+found", "containers/lost+found", "blobs/sha256/lost+found", "partial/lost+found")
STRANGE = ("images/note", "references/note.json/x", "l/0/x", "blobs/sha256/note")


def test_what_is_not_ours_is_left_alone(world: World) -> None:
    for name in FOREIGN:
        (world.root / name).mkdir(parents=True)
    for name in STRANGE:
        path = Path(world.root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("not ours")

    async def work() -> None:
        node = await pulled(world)
        node = await again(world)
        assert stuff(node)
        assert node.usage().inodes > 0

    run(work)
    assert all((world.root / name).exists() for name in (*FOREIGN, *STRANGE))
