"""Pulls from a registry that is a dictionary. The true registry is in tests/node/test_pull.py."""

import asyncio
import json
import os

import pytest
from cribus.api.cri.image import AuthConfig, ImageSpec
from cribus.api.cri.sandbox import PullImageRequest
from cribus.errors import DataLoss, InvalidArgument, NotFound
from cribus.images import pull

from tests.registry import Entry, tar
from tests.unit.images.world import HOST, World, digest, run

LAYER = tar([Entry("file", b"x")])


def test_pulled(world: World) -> None:
    manifest = world.push("app", LAYER)

    async def work() -> None:
        node = world.node()
        id = await world.pull(node, "app")
        assert node.store.names(id) == [f"{HOST}/app:v1", f"{HOST}/app@{manifest}"]
        assert world.node().store.need(id).stack == [digest(LAYER)]

    run(work)
    assert [event.kind for event in world.events] == ["image_pulled"] or len(world.events) == 1


def test_an_index(world: World) -> None:
    manifest = world.push("app", LAYER)
    index = json.dumps({"manifests": [{"digest": manifest}]}).encode()
    world.served["/v2/app/manifests/v1"] = index

    async def work() -> None:
        node = world.node()
        id = await world.pull(node, "app")
        assert node.store.names(id)[-1] == f"{HOST}/app@{digest(index)}"

    run(work)


def test_together_they_are_one(world: World) -> None:
    world.push("app", LAYER)

    async def work() -> None:
        node = world.node()
        ids = await asyncio.gather(*(world.pull(node, "app") for _ in range(5)))
        assert len(set(ids)) == 1
        assert node.pulls == {}

    run(work)
    assert len(world.asked) == 3


def test_another_user_asks_for_himself(world: World) -> None:
    world.push("app", LAYER)

    async def work() -> None:
        node = world.node()
        spec = ImageSpec(image=f"{HOST}/app:v1")
        users = [PullImageRequest(image=spec, auth=AuthConfig(username=name, password="x")) for name in "ab"]
        await asyncio.gather(*(pull.pull(node, one) for one in users))

    run(work)
    assert world.asked.count("/v2/app/manifests/v1") == 2


def test_who_gives_up_does_not_end_it(world: World) -> None:
    world.push("app", LAYER)

    async def work() -> None:
        node = world.node()
        first = asyncio.ensure_future(world.pull(node, "app"))
        await asyncio.sleep(0)
        first.cancel()
        [task] = node.pulls.values()
        assert await task in node.store.images

    run(work)


def test_no_name(world: World) -> None:
    async def work() -> None:
        with pytest.raises(InvalidArgument, match="no image is named"):
            await pull.pull(world.node(), PullImageRequest())
        with pytest.raises(InvalidArgument, match="no image reference"):
            await pull.pull(world.node(), PullImageRequest(image=ImageSpec(image="A B")))

    run(work)


def test_failures_leave_nothing(world: World) -> None:
    world.push("app", LAYER, tar([Entry("other", b"x")]))
    blobs = [path for path in world.served if "/blobs/" in path]

    async def work() -> None:
        node = world.node()
        for path in blobs:
            true = world.served.pop(path)
            with pytest.raises(NotFound):
                await world.pull(node, "app")
            world.served[path] = b"x" * len(true)
            with pytest.raises(DataLoss):
                await world.pull(node, "app")
            world.served[path] = true
            assert (node.content.sizes, node.snapshots.layers, node.pinned) == ({}, {}, [])
            assert os.listdir(world.root / "partial") == []
            assert os.listdir(world.root / "making") == ["none"]
        await world.pull(node, "app")

    run(work)
