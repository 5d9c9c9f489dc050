"""What a session does when its shim goes away. Bytes both ways are in test_exec.py."""

import asyncio
import time
from typing import Any

import pytest
from cribus.bus import service
from cribus.cli import terminal
from cribus.errors import Unavailable

from tests.unit.cli.conftest import Node


def test_a_shim_that_is_gone_ends_the_session(node: Node) -> None:
    async def nothing(*_: Any) -> None:
        return

    async def scenario() -> None:
        async with service.connect(node.settings, "cli") as bus:
            await terminal.Session(bus, stdin=False, tty=False).run(nothing)

    with node.serving({}):
        began = time.monotonic()
        with pytest.raises(Unavailable, match="shim was replaced"):
            asyncio.run(scenario())
        assert time.monotonic() - began < 10


def test_a_window_without_a_terminal() -> None:
    assert min(terminal.window()) > 0
