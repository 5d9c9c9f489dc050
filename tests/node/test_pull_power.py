"""The power is cut while images are pulled, at moments that a seed chooses.

After each cut every image that the service had said to be here is whole, down to the last byte and mode of
its files, and whatever else was under way is pulled again as if it were new.
"""

import asyncio
import contextlib
import io
import os
import random
import stat
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cribus.images import mend, snapshots
from cribus.images.node import Node

from tests.disk import Disk, disk, mounted
from tests.registry import Entry, tar
from tests.unit.images.world import HOST, World, digest, serve

IMAGES, CUTS = 5, 6


class Pulled:
    """Images under pull: what they are made of, and which of them are said to be here."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.shared = self._layer("shared")
        self.images = {f"image{k}": (self.shared, self._layer(f"a{k}"), self._layer(f"b{k}")) for k in range(IMAGES)}
        self.said: list[str] = []

    def _layer(self, name: str) -> bytes:
        files = [Entry(f"{name}/{k}", self.random.randbytes(self.random.randrange(9000))) for k in range(200)]
        large = Entry("large", self.random.randbytes(500_000))
        return tar([Entry(name, folder=True, mode=0o755), *files, large])

    def serve(self, monkeypatch: pytest.MonkeyPatch) -> None:
        registry = World(Path("/nowhere"))
        for name, layers in self.images.items():
            registry.push(name, *layers)
        serve(registry, monkeypatch)

    async def run(self, node: Node, world: World) -> None:
        for name in self.images:
            await world.pull(node, name)
            self.said.append(name)


@pytest.fixture
def outer(tmp_path: Path) -> Iterator[Disk]:
    with disk(tmp_path, 192) as one:
        yield one


def cuts(outer: Disk, pulled: Pulled, over: threading.Event) -> Iterator[tuple[Path, list[str]]]:
    """Cut the power at random moments: (what is left, what was said to be here)."""
    chance = random.Random(pulled.random.random())
    stranger = os.open(outer.root / "stranger", os.O_RDWR | os.O_CREAT)
    for _ in range(CUTS):
        over.wait(chance.random() * 0.3)
        if chance.random() < 0.7:  # the kernel writes what it likes, and others' fsync moves the journal on
            written_back(outer.root, chance)
            os.write(stranger, b"x")
            os.fsync(stranger)
        said = list(pulled.said)
        yield outer.cut(), said
    os.close(stranger)


def written_back(root: Path, chance: random.Random) -> None:
    """Have the kernel write some files, as it does in any order and at any time."""
    for above, _, names in os.walk(root):
        for name in sorted(names):
            if chance.random() < 0.5:
                with contextlib.suppress(FileNotFoundError):
                    fd = os.open(f"{above}/{name}", os.O_RDONLY)
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                    os.close(fd)


def tree(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Mode and content of each file of a tar."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {}
        for one in archive:
            file = archive.extractfile(one) if one.isfile() else None
            found[one.name] = (one.mode, file.read() if file else b"")
        return found


def on_disk(folder: str) -> dict[str, tuple[int, bytes]]:
    found = {}
    for above, folders, names in os.walk(folder):
        for name in folders + names:
            path = Path(above, name)
            mode = path.stat().st_mode
            content = path.read_bytes() if stat.S_ISREG(mode) else b""
            found[str(path.relative_to(folder))] = (stat.S_IMODE(mode), content)
    return found


def whole(node: Node, pulled: Pulled, name: str) -> None:
    """An image is here, with every blob and every file."""
    image = node.store.need(f"{HOST}/{name}:v1")
    for blob in (image.id, image.manifest, *(layer.digest for layer in image.layers)):
        assert digest(node.content.read(blob)) == blob
    for layer, data in zip(image.layers, pulled.images[name], strict=True):
        assert on_disk(node.snapshots.path(layer.diff_id)) == tree(data)


async def after(world: World, pulled: Pulled, said: list[str]) -> None:
    node = world.node()
    mend.begin(node)
    for image in list(node.store.images):
        await mend.until_whole(node, image)
    for name in said:
        whole(node, pulled, name)
    for name in pulled.images:
        await world.pull(node, name)
        whole(node, pulled, name)


@pytest.mark.parametrize(("seed", "quiet"), [(1, 0.0), (2, 1000.0), (3, 0.1)])
def test_what_was_said_to_be_here_is_whole(
    outer: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, quiet: float
) -> None:
    monkeypatch.setattr(Node, "quiet", quiet)
    pulled = Pulled(seed)
    pulled.serve(monkeypatch)
    over = threading.Event()
    found: list[tuple[Path, list[str]]] = []
    cutting = threading.Thread(target=lambda: found.extend(cuts(outer, pulled, over)))

    async def work() -> None:
        world = World(outer.root / "images")
        cutting.start()
        await pulled.run(world.node(), world)

    try:
        asyncio.run(work())
    finally:
        over.set()
        cutting.join()
    assert len(found) == CUTS
    for number, (image, said) in enumerate(found):
        monkeypatch.setattr(snapshots, "boot", lambda number=number: f"boot{number}")
        with mounted(image, tmp_path / "after") as root:
            asyncio.run(after(World(root / "images"), pulled, said))
        image.unlink()
