"""A shim that is told to go answers whoever asked it before it goes, and its successor all others."""

import asyncio
import re
import signal
from pathlib import Path
from typing import Any

from cribus.api import shim
from cribus.bus import service
from cribus.shim.retire import Desk, Retirement

from tests.harness import until
from tests.turning import Turning
from tests.unit.shim.peers import Executor
from tests.unit.shim.rig import Rig

POD, CONTAINER = "a" * 64, "c" * 64


class _Desk:
    def __init__(self) -> None:
        self.busy = False
        self.said: list[str] = []
        self.settled: list[Any] = []

    def desk(self) -> Desk:
        return Desk(
            lambda: self.busy, lambda: self.said.append("open"), lambda: self.said.append("close"), self.settled.append
        )


def test_it_goes_when_nobody_waits(turning: Turning) -> None:
    mine = _Desk()
    mine.busy = True
    retirement = Retirement(turning.loop, mine.desk())
    retirement.look()
    assert mine.said == []
    mine.busy = False
    retirement.look()
    retirement.look()
    assert mine.said == ["close"]
    turning.loop.later(0, mine.settled[0])
    turning.loop.run()


def test_a_request_that_was_on_its_way_is_served_first(turning: Turning) -> None:
    mine = _Desk()
    retirement = Retirement(turning.loop, mine.desk())
    retirement.look()
    mine.busy = True  # it came before the bus had heard
    mine.settled[0]()
    assert mine.said == ["close", "open"]
    mine.busy = False
    retirement.look()
    assert mine.said == ["close", "open", "close"]


def test_no_answer_is_lost(rig: Rig) -> None:
    async def scenario() -> None:
        rig.container(CONTAINER, ["sleep", "1000"])
        executor = Executor(rig)
        async with service.connect(rig.settings, "executor") as other, other.serve(executor.table()):
            first = await asyncio.to_thread(rig.shim, POD)
            async with (
                service.connect(rig.settings, "manager") as bus,
                service.connect(rig.settings, "gateway") as asks,
            ):
                await bus.call(shim.TAKE, shim.Take(container=CONTAINER, pod=POD), id=POD)
                wanted = shim.ExecSync(container=CONTAINER, cmd=["sh", "-c", "sleep 0.5; echo done"])
                slow = asyncio.create_task(asks.call(shim.EXEC_SYNC, wanted, id=CONTAINER))
                await asyncio.to_thread(until, lambda: executor.pids, 10, "it runs")
                first.send_signal(signal.SIGTERM)
                assert (await slow).stdout == b"done\n"
                assert await asyncio.to_thread(first.wait) == 0
                await asyncio.to_thread(rig.shim, POD)
                again = shim.ExecSync(container=CONTAINER, cmd=["echo", "hi"])
                assert (await asks.call(shim.EXEC_SYNC, again, id=CONTAINER)).stdout == b"hi\n"

    asyncio.run(scenario())


def test_one_that_waits_for_a_pod_goes_at_once(rig: Rig) -> None:
    parked, orders = rig.parked()
    until(lambda: _catches(parked.pid, signal.SIGTERM), 10, "it listens to SIGTERM")
    parked.send_signal(signal.SIGTERM)
    assert parked.wait(10) == 0
    orders.close()


def _catches(pid: int, number: int) -> bool:
    caught = re.search(r"SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text())
    return bool(caught and int(caught[1], 16) >> (number - 1) & 1)
