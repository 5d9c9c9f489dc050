"""A real nats-server and slim clients on one loop, for the tests of the slim client."""

import subprocess
import sys
from pathlib import Path

from cribus.bus import credentials
from cribus.bus.slim import Place, Slim
from cribus.config import Bus, Settings

from tests.harness import free_port
from tests.turning import Turning

NATS = Path(sys.executable).parent / "nats-server"


class SlimRig(Turning):
    def __init__(self, base: Path) -> None:
        super().__init__()
        self.settings = Settings(node="unit", root=str(base), bus=Bus(listen=f"127.0.0.1:{free_port()}"))
        self.conf = credentials.ensure(self.settings)
        self.complaints: list[str] = []
        self.nats: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self.nats = subprocess.Popen([NATS, "-c", str(self.conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        assert self.nats
        self.nats.kill()
        self.nats.wait()

    def slim(self, service: str, *, wait: bool = True) -> Slim:
        place = Place(
            url=f"nats://{self.settings.bus.listen}",
            node="unit",
            service=service,
            credentials=str(credentials.directory(self.settings) / f"{service}.json"),
        )
        one = Slim(self.loop, place, self.complaints.append)
        one.open()
        if wait:
            self.until(lambda: one.up)
        return one
