"""A file through stacked layers, as a container would see it."""

import os
from pathlib import Path

import pytest
from cribus.images import merged, whiteouts


@pytest.fixture
def layers(tmp_path: Path) -> list[str]:
    """Two layers, top first; etc/passwd is in the lower one."""
    for name in ("top", "low"):
        (tmp_path / name / "etc").mkdir(parents=True)
    (tmp_path / "low" / "etc" / "passwd").write_text("low")
    return [str(tmp_path / "top"), str(tmp_path / "low")]


def apply(layer: str, folder: str, name: str) -> None:
    fd = os.open(f"{layer}/{folder}", os.O_RDONLY)
    whiteouts.apply(fd, name)
    os.close(fd)


def test_the_topmost_counts(layers: list[str]) -> None:
    assert merged.read(layers, "etc/passwd") == b"low"
    Path(layers[0], "etc", "passwd").write_text("top")
    assert merged.read(layers, "etc/passwd") == b"top"


@pytest.mark.parametrize("place", [("etc", ".wh.passwd"), ("etc", ".wh..wh..opq")])
def test_taken_away(layers: list[str], place: tuple[str, str]) -> None:
    apply(layers[0], *place)
    assert merged.read(layers, "etc/passwd") == b""


def test_links_go_through_the_stack(layers: list[str]) -> None:
    Path(layers[0], "link").symlink_to("/etc")
    Path(layers[0], "etc", "far").symlink_to("../../../link/passwd")
    assert merged.read(layers, "etc/far") == b"low"


def test_nothing_outside_and_nothing_special(layers: list[str]) -> None:
    Path(layers[0], "etc", "host").symlink_to("/proc/self/environ")
    Path(layers[0], "ring").symlink_to("ring")
    os.mkfifo(Path(layers[0], "fifo"))
    for name in ("etc/host", "ring", "fifo", "etc", "etc/passwd/x", "none"):
        assert merged.read(layers, name) == b""


def test_large_files_are_cut(layers: list[str]) -> None:
    Path(layers[0], "large").write_bytes(bytes(1 << 20))
    assert len(merged.read(layers, "large")) == merged.LIMIT


def test_a_directory_is_what_each_layer_has_of_it(layers: list[str]) -> None:
    top, low = layers
    assert merged.directories(layers, "etc") == merged.directories(layers, "/etc/.") == [f"{top}/etc", f"{low}/etc"]
    Path(low, "only").mkdir()
    Path(top, "link").symlink_to("/only")
    assert merged.directories(layers, "link") == merged.directories(layers, "etc/../link") == [f"{low}/only"]
    assert merged.directories(layers, "") == layers


def test_a_directory_that_was_taken_away_is_none(layers: list[str]) -> None:
    top, low = layers
    Path(low, "etc", "deep", "er").mkdir(parents=True)
    assert merged.directories(layers, "etc/deep/er") == [f"{low}/etc/deep/er"]
    apply(top, "etc", ".wh.deep")
    assert merged.directories(layers, "etc/deep/er") == merged.directories(layers, "etc/deep") == []


def test_an_opaque_directory_has_nothing_below_it(layers: list[str]) -> None:
    top, low = layers
    for layer in layers:
        Path(layer, "etc", "deep").mkdir()
    apply(top, "etc", ".wh..wh..opq")
    assert merged.directories(layers, "etc") == [f"{top}/etc"]
    assert merged.directories(layers, "etc/deep") == [f"{top}/etc/deep"]
    Path(low, "etc", "other").mkdir()
    assert merged.directories(layers, "etc/other") == []


def test_what_is_no_directory(layers: list[str]) -> None:
    Path(layers[0], "ring").symlink_to("ring")
    Path(layers[1], "host").symlink_to("../../../proc")
    for name in ("etc/passwd", "etc/passwd/..x", "ring", "host", "none"):
        assert merged.directories(layers, name) == []
    Path(layers[0], "etc", "passwd").mkdir()
    assert merged.directories(layers, "etc/passwd") == [f"{layers[0]}/etc/passwd"]  # not what it lies on
