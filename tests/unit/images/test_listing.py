"""CRI's questions about images."""

import json

import pytest
from cribus.api.cri.image import ImageFilter, ImageSpec, ImageStatusRequest, ListImagesRequest, RemoveImageRequest
from cribus.api.cri.stats import ImageFsInfoRequest
from cribus.errors import InvalidArgument
from cribus.images import listing

from tests.registry import Entry, tar
from tests.unit.images.world import HOST, World, run

NAME = ImageSpec(image=f"{HOST}/app:v1")


def test_listed_described_and_removed(world: World) -> None:
    world.push("app", tar([Entry("x", b"x")]), User="1000:5", Env=["A=b"])
    world.push("named", tar([Entry("y", b"y")]), User="mail")

    async def work() -> None:
        node = world.node()
        id = await world.pull(node, "app")
        await world.pull(node, "named")
        assert len((await listing.list_images(node, ListImagesRequest())).images) == 2
        [one] = (await listing.list_images(node, ListImagesRequest(filter=ImageFilter(image=NAME)))).images
        assert (one.id, one.repo_tags, one.username) == (id, [NAME.image], "")
        assert one.uid is not None
        none = ListImagesRequest(filter=ImageFilter(image=ImageSpec(image="none")))
        assert (await listing.list_images(node, none)).images == []
        found = await listing.status(node, ImageStatusRequest(image=NAME, verbose=True))
        assert json.loads(found.info["info"])["imageSpec"]["config"]["Env"] == ["A=b"]
        named = await listing.status(node, ImageStatusRequest(image=ImageSpec(image=f"{HOST}/named:v1")))
        assert named.image is not None
        assert (named.image.username, named.info) == ("mail", {})
        [usage] = (await listing.fs_info(node, ImageFsInfoRequest())).image_filesystems
        assert usage.fs_id is not None
        assert usage.fs_id.mountpoint == str(world.root)
        for _ in range(2):
            await listing.remove(node, RemoveImageRequest(image=NAME))
        assert (await listing.status(node, ImageStatusRequest(image=NAME))).image is None
        assert len(node.snapshots.layers) == 1

    run(work)


def test_no_name(world: World) -> None:
    async def work() -> None:
        node = world.node()
        with pytest.raises(InvalidArgument):
            await listing.status(node, ImageStatusRequest())
        with pytest.raises(InvalidArgument):
            await listing.remove(node, RemoveImageRequest(image=ImageSpec()))

    run(work)
