"""Layers side by side: once each, whoever wants them, and what failures leave."""

import asyncio
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cribus.errors import DataLoss, NotFound, Unavailable
from cribus.images import bring
from cribus.images.store import Image, Layer
from cribus.oci import image_spec

from tests.registry import Entry, tar
from tests.unit.images.world import Child, World, digest, run, spawn

ONE, TWO = (tar([Entry(name, os.urandom(2000))]) for name in ("one", "two"))


def image(*layers: bytes) -> Image:
    made = [Layer(digest(one), digest(one), len(one), image_spec.LAYER) for one in layers]
    return Image(id=digest(b"id"), manifest=digest(b"m"), size=0, layers=made)


class Blobs:
    """A source that counts, and waits where it is told to."""

    def __init__(self, *layers: bytes) -> None:
        self.data = {digest(one): one for one in layers}
        self.asked: list[tuple[str, int]] = []
        self.stopped = threading.Event()
        self.began = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def fetch(self, name: str, offset: int, size: int) -> Iterator[bytes]:
        self.asked.append((name, offset))
        self.began.set()
        assert self.go.wait(10)
        if name not in self.data:
            raise NotFound("no such blob")
        yield self.data[name][offset:]

    def source(self, told: str = "") -> bring.Source:
        made = bring.Source(self.fetch, self.stopped.set, told)
        _sources.append(made)
        return made


_sources: list[bring.Source] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _sources:
        _sources.pop().close()


def test_brought_and_told(world: World) -> None:
    blobs = Blobs(ONE, TWO)

    async def work() -> None:
        node = world.node()
        for _ in range(2):
            await bring.layers(node, image(ONE, TWO, ONE), blobs.source("mine"))
        assert node.snapshots.has(digest(ONE))
        assert node.content.has(digest(TWO))
        assert node.usage().inodes == 4

    run(work)
    assert sorted(blobs.asked) == sorted([(digest(ONE), 0), (digest(TWO), 0)])
    assert {word.stage for word in world.words} >= {"waiting", "done", "present"}


def test_two_who_want_one(world: World) -> None:
    blobs = Blobs(ONE)
    blobs.go.clear()

    async def work() -> None:
        node = world.node()
        both = [asyncio.ensure_future(bring.layers(node, image(ONE), blobs.source())) for _ in range(2)]
        assert await asyncio.to_thread(blobs.began.wait, 10)
        blobs.go.set()
        await asyncio.gather(*both)

    run(work)
    assert blobs.asked == [(digest(ONE), 0)]


def test_the_others_failure_is_not_mine(world: World) -> None:
    bad, good = Blobs(), Blobs(ONE)
    bad.go.clear()

    async def work() -> None:
        node = world.node()
        first = asyncio.ensure_future(bring.layers(node, image(ONE), bad.source()))
        assert await asyncio.to_thread(bad.began.wait, 10)
        second = asyncio.ensure_future(bring.layers(node, image(ONE), good.source()))
        bad.go.set()
        with pytest.raises(NotFound):
            await first
        await second
        assert node.bringing == {}

    run(work)
    assert bad.stopped.is_set()
    assert not good.stopped.is_set()


def test_a_blob_is_resumed(world: World) -> None:
    blobs = Blobs(ONE)

    async def work() -> None:
        node = world.node()
        node.content.partial(digest(ONE)).write_bytes(ONE[:700])
        await bring.layers(node, image(ONE), blobs.source())

    run(work)
    assert blobs.asked == [(digest(ONE), 700)]


@pytest.mark.parametrize("left", [bytes(700), b"\x1f\x8b" + bytes(698), b"x" * 50_000])
def test_a_damaged_beginning_costs_no_pull(world: World, left: bytes) -> None:
    """A loss of power may leave zeros, or another registry rubbish."""
    blobs = Blobs(ONE)

    async def work() -> None:
        node = world.node()
        node.content.partial(digest(ONE)).write_bytes(left)
        await bring.layers(node, image(ONE), blobs.source())
        assert node.snapshots.has(digest(ONE))
        assert node.content.begun(digest(ONE)) == 0

    run(work)


def test_killed_workers_have_successors(world: World) -> None:
    blobs = Blobs(ONE)
    victims = [True, True, False]

    async def sometimes(function: str, request: dict[str, Any], fds: Sequence[int]) -> Child:
        if not victims.pop(0):
            return await spawn(function, request, fds)
        return Child(os.getpid())  # its end of the answer is closed without a word

    async def work() -> None:
        node = world.node()
        node.spawn = sometimes
        await bring.layers(node, image(ONE), blobs.source())
        assert node.snapshots.has(digest(ONE))
        victims.extend([True] * 3)
        with pytest.raises(Unavailable, match="died"):
            await bring.layers(node, image(TWO), Blobs(TWO).source())

    run(work)


@pytest.mark.parametrize(("error", "kept"), [(Unavailable("x"), True), (DataLoss("x"), False), (OSError(), False)])
def test_undo(world: World, error: Exception, kept: bool) -> None:
    async def work() -> None:
        node = world.node()
        await bring.layers(node, image(ONE), Blobs(ONE).source())
        node.content.partial(digest(TWO)).write_bytes(b"begun")
        bring.undo(node, image(ONE, TWO), error)
        assert node.snapshots.has(digest(ONE)) is kept
        assert node.content.has(digest(ONE)) is kept
        assert bool(node.content.begun(digest(TWO))) is kept

    run(work)


def test_no_layers(world: World) -> None:
    async def work() -> None:
        await bring.layers(world.node(), image(), Blobs().source())

    run(work)


def test_one_that_hangs_delays_no_other(world: World) -> None:
    """Pulls whose registries say nothing, more than the service has threads of its own."""
    stuck = [tar([Entry(f"stuck{k}", os.urandom(100))]) for k in range(30)]
    silent = [Blobs(*stuck[k : k + 3]) for k in range(0, 30, 3)]
    for blobs in silent:
        blobs.go.clear()

    async def work() -> None:
        node = world.node()
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
        waiting = [
            asyncio.ensure_future(bring.layers(node, image(*blobs.data.values()), blobs.source())) for blobs in silent
        ]
        for blobs in silent:
            await asyncio.to_thread(blobs.began.wait, 10)
        async with asyncio.timeout(10):
            await bring.layers(node, image(ONE), Blobs(ONE).source())
        assert not any(task.done() for task in waiting)
        for blobs in silent:
            blobs.go.set()
        await asyncio.gather(*waiting)

    run(work)
