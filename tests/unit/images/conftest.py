"""A world of images for whoever asks."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.unit.images.world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path / "images")
    real = httpx.Client

    def direct(**settings: Any) -> httpx.Client:
        return real(transport=httpx.MockTransport(lambda request: made.answer(request)), follow_redirects=True)

    monkeypatch.setattr("cribus.images.registry.client.httpx.Client", direct)
    mask = os.umask(0o022)
    yield made
    os.umask(mask)
