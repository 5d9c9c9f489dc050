import os
import tarfile
from pathlib import Path

import pytest
from cribus.api.images import Capture, Pack
from cribus.errors import NotFound
from cribus.images import checkpoint

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
