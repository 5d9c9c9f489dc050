"""Children in waiting, with processes that only take their order."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from cribus.ahead import Ahead
from cribus.forkserver import Spawned

ORDERED = """
import os, socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
said, passed, _, _ = socket.recv_fds(sock, 100, 1)
if said:
    os.write(passed[0], said)
"""


class Place:
    def __init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []
        self.more = asyncio.Event()
        self.ahead = Ahead(self.fork)

    async def fork(self, orders: int) -> Spawned:
        try:
            return self._popen(orders)
        finally:
            self.more.set()

    def _popen(self, orders: int) -> Spawned:
        process = subprocess.Popen([sys.executable, "-c", ORDERED, str(orders)], pass_fds=[orders])
        self.started.append(process)
        return Spawned(process.pid, os.pidfd_open(process.pid))

    async def ordered(self, pod: str) -> tuple[int, str]:
        """Which process has taken this order, and what it heard."""
        read, write = os.pipe()
        try:
            child = await self.ahead.order(pod.encode(), [write])
        finally:
            os.close(write)
        heard = await asyncio.to_thread(os.read, read, 100)
        os.close(read)
        os.close(child.pidfd)
        return child.pid, heard.decode()

    async def filled(self, count: int) -> None:
        while len(self.started) < count:
            self.more.clear()
            await self.more.wait()


def play(scenario: Callable[[Place], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        place = Place()
        async with asyncio.timeout(30):
            await scenario(place)
            await place.ahead.close()
        # whoever waited has ended without an order
        assert [process.wait(10) for process in place.started].count(0) >= 1

    asyncio.run(main())


def test_one_in_waiting_takes_the_next_order_and_is_followed() -> None:
    async def scenario(place: Place) -> None:
        place.ahead.fill()
        await place.filled(1)
        assert await place.ordered("a") == (place.started[0].pid, "a")
        await place.filled(2)
        assert await place.ordered("b") == (place.started[1].pid, "b")

    play(scenario)


def test_without_one_in_waiting_the_order_goes_to_a_new_one() -> None:
    async def scenario(place: Place) -> None:
        assert await place.ordered("a") == (place.started[0].pid, "a")

    play(scenario)


def test_one_that_died_waiting_is_replaced() -> None:
    async def scenario(place: Place) -> None:
        place.ahead.fill()
        await place.filled(1)
        place.started[0].kill()
        place.started[0].wait(10)
        assert await place.ordered("a") == (place.started[1].pid, "a")

    play(scenario)
