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
