"""Volumes that an image declares start as the image has them."""

import os
from pathlib import Path

import msgspec
import pytest
from cribus.errors import Unavailable
from cribus.manager import volumes

from tests.unit.manager.conftest import Run
from tests.unit.manager.test_spec_build import wanted


def test_layers_are_merged_as_overlayfs_does(tmp_path: Path, run: Run) -> None:
    low, high = tmp_path / "low", tmp_path / "high"
    for layer in (low, high):
        (layer / "data" / "dir").mkdir(parents=True)
    (low / "data" / "kept").write_text("low")
    (low / "data" / "changed").write_text("low")
    (low / "data" / "removed").write_text("low")
    (low / "data" / "dir" / "hidden").write_text("low")
    (high / "data" / "changed").write_text("high")
    (high / "data" / "link").symlink_to("kept")
    os.mknod(high / "data" / "removed", 0o020000, 0)
    os.setxattr(high / "data" / "dir", "trusted.overlay.opaque", b"y")
    (high / "data").chmod(0o700)
    os.chown(high / "data", 5, 6)
    prepared = msgspec.structs.replace(
        wanted().prepared,
        config={"Volumes": {"/data/": {}, "/new": {}}},
        volumes={"/data/": [f"{high}/data", f"{low}/data"], "/new": []},
    )
    one = wanted(prepared=prepared, volumes_dir=str(tmp_path / "volumes"))
    run(volumes.fill(one))
    made = tmp_path / "volumes" / "0"
    found = {str(path.relative_to(made)): path for path in made.rglob("*")}
    assert sorted(found) == ["changed", "dir", "kept", "link"]
    assert (found["changed"].read_text(), found["kept"].read_text()) == ("high", "low")
    assert os.readlink(found["link"]) == "kept"
    seen = made.stat()
    assert (seen.st_mode & 0o777, seen.st_uid, seen.st_gid) == (0o700, 5, 6)
    assert (tmp_path / "volumes" / "1").is_dir()


def test_an_image_service_that_does_not_read_them_is_not_believed(tmp_path: Path, run: Run) -> None:
    """For a moment of an upgrade an older one answers."""
    prepared = msgspec.structs.replace(wanted().prepared, config={"Volumes": {"/data": {}}}, volumes=None)
    one = wanted(prepared=prepared, volumes_dir=str(tmp_path / "volumes"))
    with pytest.raises(Unavailable, match="repeat"):
        run(volumes.fill(one))
    assert not (tmp_path / "volumes").exists()


def test_nothing_declared_nothing_made(tmp_path: Path, run: Run) -> None:
    run(volumes.fill(wanted(volumes_dir=str(tmp_path / "volumes"))))
    assert not (tmp_path / "volumes").exists()
