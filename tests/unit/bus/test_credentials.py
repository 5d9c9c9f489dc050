"""Each user has the least it needs, and a real server refuses the rest."""

import asyncio
import stat
from pathlib import Path
from typing import Any

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
