"""Each user has the least it needs, and a real server refuses the rest."""

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from cribus.bus import credentials, service
from cribus.config import Settings


def test_passwords_are_kept_and_private(tmp_path: Path) -> None:
    settings = Settings(node="n", root=str(tmp_path))
    credentials.ensure(settings)
    first = credentials.login(settings, "shim").password
    credentials.ensure(settings)
    assert credentials.login(settings, "shim").password == first
    assert len(first) > 30
    for path in (tmp_path / "bus").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_that_start_the_node_at_once_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server that one has started by now must not be left with other passwords than the services read."""
    settings = Settings(node="n", root=str(tmp_path))
    look = Path.exists
    first: list[str] = []

    def nothing_yet(path: Path) -> bool:
        found = look(path)
        if path.name == "manager.json" and not first:
            first.append("")
            first[0] = credentials.ensure(settings).read_text()
        return found

    monkeypatch.setattr(Path, "exists", nothing_yet)
    assert credentials.ensure(settings).read_text() == first[0]
    known = {one["user"]: one["password"] for one in json.loads(first[0])["authorization"]["users"]}
    for one in credentials.CALLS:
        assert known[f"n-{one}"] == credentials.login(settings, one).password
    assert not [path.name for path in (tmp_path / "bus").iterdir() if path.name.startswith(".")]


def test_a_shim_cannot_ask_the_manager_nor_listen_to_others(with_server: Any) -> None:
    async def scenario(server: Any) -> None:
        async with service.connect(server.settings, "shim") as shim:
            refused: list[str] = []
            told = asyncio.Event()

            async def note(error: Exception) -> None:
                refused.append(str(error).lower())
                told.set()

            shim.connection.nats._error_cb = note
            for attempt in (
                shim.connection.nats.publish("cribus.unit.manager.run_sandbox", b""),
                shim.connection.nats.subscribe("cribus.unit.executor.>"),
            ):
                told.clear()
                await attempt
                await told.wait()
            assert all("permissions violation" in text for text in refused)

    with_server(scenario)
