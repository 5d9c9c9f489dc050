"""A container's root filesystem, as the manager gets it."""

import os
from pathlib import Path

import pytest
from cribus.api.images import Discard, Prepare, Usage
from cribus.errors import InvalidArgument, NotFound
from cribus.images import rootfs

from tests.registry import Entry, tar
from tests.unit.images.world import HOST, World, digest, run

LAYER = tar([Entry("etc/passwd", b"root:x:0"), Entry("etc/group", b"root:x")])


def test_prepared_and_discarded(world: World) -> None:
    manifest = world.push("app", LAYER, Cmd=["sh"])

    async def work() -> None:
        node = world.node()
        id = await world.pull(node, "app")
        request = Prepare(container="c1", image=f"{HOST}/app:v1")
        made = await rootfs.prepare(node, request)
        assert await rootfs.prepare(node, request) == made
        assert made.lower == [node.snapshots.path(digest(LAYER))]
        assert (made.image_id, made.image_ref) == (id, f"{HOST}/app@{manifest}")
        assert (made.config, made.passwd, made.group) == ({"Cmd": ["sh"]}, b"root:x:0", b"root:x")
        (Path(made.upper) / "file").write_bytes(bytes(10_000))
        used = await rootfs.usage(node, Usage(container="c1"))
        assert (used.used_bytes or 0) >= 10_000
        for _ in range(2):
            await rootfs.discard(node, Discard(container="c1"))
        assert os.listdir(world.root / "containers") == []
        with pytest.raises(NotFound):
            await rootfs.usage(node, Usage(container="c1"))

    run(work)


def test_a_part_of_an_image_and_the_volumes_that_it_declares(world: World) -> None:
    low = tar([Entry("data/gone/x", b"x"), Entry("data/kept/x", b"x")])
    high = tar([Entry("data/.wh.gone"), Entry("data/kept/y", b"y")])
    world.push("app", low, high, Volumes={"/data/gone": {}, "/data/kept/": {}})

    async def work() -> None:
        node = world.node()
        id = await world.pull(node, "app")
        request = Prepare(container="c1", image=f"{HOST}/app:v1", below="data/kept")
        made = await rootfs.prepare(node, request)
        parts = [f"{layer}/data/kept" for layer in node.lower(node.store.need(id))]
        assert sorted(name for part in parts for name in os.listdir(part)) == ["x", "y"]
        assert (made.lower, made.below) == (parts, "data/kept")
        assert made.volumes == {"/data/gone": [], "/data/kept/": parts}
        with pytest.raises(NotFound, match="no directory data/gone"):
            await rootfs.prepare(node, Prepare(container="c2", image=request.image, below="data/gone"))
        assert list(node.snapshots.containers) == ["c1"]

    run(work)


def test_refused(world: World) -> None:
    async def work() -> None:
        node = world.node()
        with pytest.raises(InvalidArgument, match="no container id"):
            await rootfs.prepare(node, Prepare(container="../x", image="x"))
        with pytest.raises(NotFound, match="pull it first"):
            await rootfs.prepare(node, Prepare(container="c1", image="x"))

    run(work)
