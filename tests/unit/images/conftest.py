"""A world of images for whoever asks."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.images.world import World, serve


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path / "images")
    serve(made, monkeypatch)
    return made


@pytest.fixture(autouse=True)
def _mask() -> Iterator[None]:
    """Workers change it: it is theirs."""
    mask = os.umask(0o022)
    yield
    os.umask(mask)
