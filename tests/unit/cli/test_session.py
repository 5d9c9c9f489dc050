"""A node that is not there is said so, in one sentence, at once."""

import asyncio
import time
from pathlib import Path

import pytest
from cribus.bus import credentials
from cribus.cli import __main__ as cli
from cribus.cli.session import connected
from cribus.config import Bus, Settings
from cribus.errors import FailedPrecondition, Unavailable


async def _connect(settings: Settings) -> None:
    async with connected(settings, 0.3):
        raise AssertionError("there is no bus")


def test_without_credentials(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="cribus up"):
        asyncio.run(_connect(Settings(node="unit", root=str(tmp_path))))


def test_without_a_bus(tmp_path: Path) -> None:
    settings = Settings(node="unit", root=str(tmp_path), bus=Bus(listen="127.0.0.1:9"))
    credentials.ensure(settings)
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9 does not answer"):
        asyncio.run(_connect(settings))
    assert time.monotonic() - began < 2


def test_a_node_that_was_not_started_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'node = "unit"\nroot = "{tmp_path}"\nrun = "{tmp_path}/run"\n[bus]\nlisten = "127.0.0.1:9"\n')
    monkeypatch.setenv("CRIBUS_CONFIG", str(config))
    credentials.ensure(Settings(node="unit", root=str(tmp_path)))
    assert cli.run(["ps"]) == 1
    assert capsys.readouterr().err == "cribus: the node is not running; `cribus up` starts it\n"
