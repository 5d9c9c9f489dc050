"""A real nats-server with the node's own credentials, for the bus's tests."""

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from cribus.bus import credentials
from cribus.config import Bus, Settings

SERVER = shutil.which("nats-server", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")


class Server:
    """nats-server as the node runs it; can be killed and started again on the same store."""

    def __init__(self, root: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.settings = Settings(node="unit", root=str(root), bus=Bus(listen=f"127.0.0.1:{port}"))
        self.conf = credentials.ensure(self.settings)
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        assert SERVER
        self.process = await asyncio.create_subprocess_exec(
            SERVER, "-c", str(self.conf), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )

    async def kill(self) -> None:
        if self.process and self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()


Scenario = Callable[[Server], Coroutine[Any, Any, None]]


@pytest.fixture
def with_server(tmp_path: Path) -> Callable[[Scenario], None]:
    """Runs a coroutine function against a started server."""

    def run(scenario: Scenario) -> None:
        async def main() -> None:
            server = Server(tmp_path)
            await server.start()
            try:
                async with asyncio.timeout(30):
                    await scenario(server)
            finally:
                await server.kill()

        asyncio.run(main())

    return run
