"""A node for the command line: the real bus, and services that answer what a test says."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cribus.api.verb import Verb
from cribus.bus import server as bus_server
from cribus.bus import service
from cribus.cli import __main__ as cli
from cribus.config import Settings

from tests.unit.bus.conftest import Server, with_server

__all__ = ["Answers", "Node", "node", "with_server"]
Answers = dict[Verb[Any, Any], Callable[[Any], Any]]


class Node:
    """`asked` are the requests, in order. Everything else runs in a thread of its own."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.asked: list[Any] = []
        self.bus: dict[str, service.Bus] = {}
        self._loop: asyncio.AbstractEventLoop
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self.settings = Settings()
        self.config = base / "config.toml"

    def cribus(self, *argv: str) -> int:
        """Run a command in this process."""
        return cli.run(list(argv))

    def do(self, work: Any) -> Any:
        """Run a coroutine in the services' loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    @contextlib.contextmanager
    def serving(self, answers: Answers) -> Iterator["Node"]:
        """While inside, the services answer. An answer is a message, or a coroutine of one."""
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(answers),))
        thread.start()
        try:
            assert self._ready.wait(10)
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._stop.set)
            thread.join()
            self._loop.close()

    async def _serve(self, answers: Answers) -> None:
        server = Server(self.base)
        await server.start()
        self.settings = server.settings
        self.config.write_text(
            f'node = "unit"\nroot = "{self.base}"\nrun = "{self.base}/run"\n'
            f'[bus]\nlisten = "{server.settings.bus.listen}"\n'
        )
        names = {verb.service for verb in answers} | {"images", "shim"}
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(server.kill)
            for name in names:
                self.bus[name] = await stack.enter_async_context(service.connect(server.settings, name))
                table = {verb: self._handler(give) for verb, give in answers.items() if verb.service == name}
                requests = f"cribus.{server.settings.node}.{name}.>"  # an addressed verb ends with an id
                server_of = bus_server.Server(
                    self.bus[name].connection, bus_server.Tables(table, {}, self.bus[name].trace.asked)
                )
                await self.bus[name].connection.nats.subscribe(requests, cb=server_of.on_message)
            self._ready.set()
            await self._stop.wait()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _handler(self, give: Callable[[Any], Any]) -> Callable[[Any], Any]:
        async def handle(request: Any) -> Any:
            self.asked.append(request)
            answer = give(request)
            return await answer if asyncio.iscoroutine(answer) else answer

        return handle


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    one = Node(tmp_path)
    monkeypatch.setenv("CRIBUS_CONFIG", str(one.config))
    return one
