"""The first image."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from cribus.api.images import Load, Prepare
from cribus.errors import FailedPrecondition
from cribus.images import archive, rootfs, starter

from tests.unit.images.world import World, run


def test_it_loads_and_has_every_applet(world: World, tmp_path: Path) -> None:
    path = tmp_path / "busybox.tar"
    starter.build(str(path))

    async def work() -> None:
        node = world.node()
        assert (await archive.load(node, Load(path=str(path)))).references == ["localhost/busybox:latest"]
        made = await rootfs.prepare(node, Prepare(container="c1", image="localhost/busybox"))
        root = Path(made.lower[0])
        assert (root / "bin/sh").stat().st_ino == (root / "bin/busybox").stat().st_ino
        assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777
        assert b"www-data" in made.passwd

    run(work)


def test_an_image_of_layers(tmp_path: Path) -> None:
    layers = [starter.pack(starter.layer(b"program", ["busybox"])), starter.pack(b"\0" * 1024)]
    made = starter.image(layers, {"Cmd": ["x"]})
    manifest, config = json.loads(made.blobs[made.manifest]), json.loads(made.blobs[made.id])
    assert [one["digest"] for one in manifest["layers"]] == [one.digest for one in layers]
    assert config["rootfs"]["diff_ids"] == [one.diff_id for one in layers]
    assert config["config"] == {"Cmd": ["x"]}
    assert made == starter.image(layers, {"Cmd": ["x"]})


def test_without_busybox(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="busybox-static"):
        starter.build(str(tmp_path / "x"), busybox="/none")


def test_a_layer_names_each_applet_once() -> None:
    with tarfile.open(fileobj=io.BytesIO(starter.layer(b"program", ["busybox", "sh"]))) as tar:
        names = tar.getnames()
        assert tar.getmember("bin/sh").mode == tar.getmember("bin/busybox").mode == 0o755  # others take the link's
    assert len(names) == len(set(names))
    assert {"bin/sh", "bin/busybox", "etc/passwd"} <= set(names)
