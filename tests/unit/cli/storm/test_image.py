"""The storm's image is its own."""

import asyncio
import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from cribus.api import images
from cribus.api.cri.image import RemoveImageResponse
from cribus.bus import service
from cribus.cli.storm import image
from cribus.cli.storm.plan import CONFIG, MANIFEST, Pull
from cribus.errors import FailedPrecondition
from cribus.images import starter

from tests.unit.cli.conftest import Answers, Node, node

__all__ = ["node"]


def _manifest(path: Path) -> tuple[str, str]:
    """(digest, name) of the one image of a layout."""
    with tarfile.open(path) as tar:
        index = tar.extractfile("index.json")
        assert index is not None
        (one,) = json.load(index)["manifests"]
    return one["digest"], one["annotations"]["io.containerd.image.name"]


def test_it_has_a_name_and_an_id_of_its_own(tmp_path: Path) -> None:
    image.write(str(tmp_path / "ours"))
    starter.build(str(tmp_path / "first"))
    ours, first = _manifest(tmp_path / "ours"), _manifest(tmp_path / "first")
    assert ours[1] == image.REFERENCE
    assert ours[0] != first[0]


def test_those_that_are_pulled_are_each_their_own(tmp_path: Path) -> None:
    made = image.make("storm-1-1", Pull((10, 2000), {}))
    assert made == image.make("storm-1-1", Pull((10, 2000), {}))
    assert not made.own & image.make("storm-1-4", Pull((10, 2000), {})).own
    parts = {one.kind: one for one in made.parts}
    manifest = json.loads(parts[MANIFEST].data)
    assert manifest["config"]["digest"] == made.id == parts[CONFIG].digest
    layers = [one["digest"] for one in manifest["layers"]]
    assert layers[1:3] == [parts["0"].digest, parts["1"].digest]
    assert set(layers) - made.own == {layers[0]}  # busybox, which the loaded one has too
    data = {one.digest: one.data for one in made.parts}
    for layer in layers:
        subprocess.run(["tar", "-xzC", str(tmp_path)], input=data[layer], check=True)
    sums = (tmp_path / "sums").read_text().replace("  /", f"  {tmp_path}/")
    assert sums.count("\n") == 2
    assert subprocess.run(["sha256sum", "-c"], input=sums, text=True, capture_output=True).returncode == 0


def test_without_busybox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image._base.cache_clear()
    monkeypatch.setattr(image, "_BUSYBOX", "/nowhere/busybox")
    with pytest.raises(FailedPrecondition, match="busybox-static"):
        image.write(str(tmp_path / "ours"))


def test_it_is_loaded_and_removed(node: Node, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with service.connect(node.settings, "cli") as bus:
            await image.load(bus, str(tmp_path))
            await image.remove(bus)

    answers: Answers = {images.LOAD: lambda _: images.Loaded(), images.REMOVE: lambda _: RemoveImageResponse()}
    with node.serving(answers):
        asyncio.run(scenario())
    load, remove = node.asked
    assert load.path == str(tmp_path / "image.tar")
    assert remove.image.image == image.REFERENCE
