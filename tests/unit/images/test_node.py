"""What is used stays, what is not goes, in one step."""

import os

import pytest
from cribus.api.events import IMAGE_REMOVED
from cribus.bus.events import message_id
from cribus.images import node as nodes
from cribus.images.store import Image, Layer, Store

from tests.registry import Entry, tar
from tests.unit.images.world import World, digest, run

LOW, HIGH = (tar([Entry(name, b"x")]) for name in ("low", "high"))


async def two(world: World) -> nodes.Node:
    """Two images that share their lower layer."""
    made = world.node()
    world.push("both", LOW, HIGH)
    world.push("low", LOW)
    for name in ("both", "low"):
        await world.pull(made, name)
    return made


def test_a_shared_layer_goes_with_its_last_image(world: World) -> None:
    async def work() -> None:
        node = await two(world)
        both, low = (node.store.need(f"registry.test/{name}:v1") for name in ("both", "low"))
        await node.store.remove(both.id)
        node.forget([both])
        assert set(node.snapshots.layers) == set(node.content.sizes) & {digest(LOW)} == {digest(LOW)}
        await node.store.remove(low.id)
        node.forget([low])
        assert (node.snapshots.layers, node.content.sizes, tuple(node.usage())) == ({}, {}, (0, 0))

    run(work)


def test_a_containers_layers_outlive_the_image(world: World) -> None:
    async def work() -> None:
        node = await two(world)
        node.snapshots.prepare("c1", {"diff_ids": [digest(LOW), digest(HIGH)]}, os.stat("/"))
        images = list(node.store.images.values())
        for one in images:
            await node.store.remove(one.id)
        node.forget(images)
        assert set(node.snapshots.layers) == {digest(LOW), digest(HIGH)}
        node.discard("c1")
        node.discard("c1")
        assert node.snapshots.layers == {}

    run(work)


def test_a_pull_that_is_done_leaves_alone_what_another_just_writes(world: World) -> None:
    async def work() -> None:
        node = await two(world)
        writes = node.root / "partial" / "manifest.tmp"
        writes.touch()
        await world.pull(node, "low")
        assert writes.exists()
        node.open()  # by the next process
        assert not writes.exists()

    run(work)


def test_what_a_pull_needs_is_pinned(world: World) -> None:
    async def work() -> None:
        node = await two(world)
        low = node.store.need("registry.test/low:v1")
        node.pinned.append(low)
        await node.store.remove(low.id)
        node.forget([low])
        assert node.snapshots.has(digest(LOW))

    run(work)


@pytest.mark.parametrize("old", [False, True])
def test_at_the_start_what_is_old_and_nobodys_goes(world: World, old: bool) -> None:
    async def work() -> None:
        node = await two(world)
        for one in list(node.store.images):
            await node.store.remove(one)
        if old:
            for path in (*world.root.glob("layers/*/usage"), *world.root.glob("blobs/sha256/*")):
                os.utime(path, (0, 0))
        again = world.node()
        assert bool(again.snapshots.layers) is not old
        assert bool(again.content.sizes) is not old

    run(work)


def test_a_removal_that_was_cut_short_is_finished_and_told_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        node = await two(world)
        image = node.store.need("registry.test/both:v1")
        await node.store.remove(image.id)  # killed here, its successor before it had noted that nothing is left
        with monkeypatch.context() as patch:
            patch.setattr(Store, "forget", lambda *_: None)
            await world.node().finish_removals()
        last = world.node()
        assert last.store.find("registry.test/both:v1") is None
        await last.finish_removals()
        assert not last.snapshots.has(digest(HIGH))
        assert not last.content.has(image.id)
        assert last.snapshots.has(digest(LOW))
        first, second = (message_id(one) for one in world.events if one.kind == IMAGE_REMOVED)
        assert first == second  # the stream has it once
        assert not world.node().store.removed

    run(work)


def test_a_pull_tidies_up_after_those_that_broke_off(world: World) -> None:
    async def work() -> None:
        node = await two(world)
        await node.store.remove(node.store.need("registry.test/both:v1").id)
        for path in world.root.glob("layers/*/usage"):
            os.utime(path, (0, 0))
        world.push("third", tar([Entry("third", b"x")]))
        await world.pull(node, "third")
        assert not node.snapshots.has(digest(HIGH))
        assert node.snapshots.has(digest(LOW))

    run(work)


def test_an_image_of_nothing_has_an_empty_layer(world: World) -> None:
    async def work() -> None:
        node = world.node()
        assert node.lower(Image(id="", manifest="", size=0, layers=[])) == [node.snapshots.nothing()]

    run(work)


def test_top_first(world: World) -> None:
    async def work() -> None:
        node = await two(world)
        image = node.store.need("registry.test/both:v1")
        assert node.lower(image) == [node.snapshots.path(digest(HIGH)), node.snapshots.path(digest(LOW))]
        assert isinstance(image.layers[0], Layer)

    run(work)
