"""Sessions whose shim is killed again and again: every byte once, both ways, and the right exit code."""

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cribus.api import shim
from cribus.bus import client, service
from cribus.bus.connection import pause
from cribus.bus.service import Bus
from cribus.errors import DeadlineExceeded, Unavailable

from tests.harness import until
from tests.unit.shim.peers import Client, Executor
from tests.unit.shim.rig import Rig

POD, CONTAINER = "a" * 64, "c" * 64
SEED = int(os.environ.get("SEED", "0")) or time.time_ns() % (1 << 31)
_UPPER = """
import os, sys
while data := os.read(0, 50000):
    for fd in (1, 2):
        view = data.swapcase()
        while view:
            view = view[os.write(fd, view):]
sys.exit(7)
"""


class Shims:
    """The pod's shim, killed and replaced at random moments."""

    def __init__(self, rig: Rig, dice: random.Random) -> None:
        self._rig = rig
        self._dice = dice
        self.process: subprocess.Popen[bytes] = rig.shim(POD)
        self.kills = 0
        self._more = asyncio.Event()

    async def replace(self) -> None:
        self.kills += 1
        self._more.set()
        await asyncio.to_thread(self._rig.end, self.process)
        self.process = await asyncio.to_thread(self._rig.shim, POD)

    async def killed_once_more(self, count: int) -> None:
        """Until so many kills have been."""
        while self.kills < count:
            self._more.clear()
            await self._more.wait()

    async def torment(self) -> None:
        """Until cancelled."""
        while True:
            await pause(self._dice.random() * 0.06)
            await self.replace()


@contextlib.asynccontextmanager
async def node(rig: Rig, argv: list[str], **take: Any) -> AsyncIterator[tuple[Bus, Shims]]:
    print("SEED", SEED)
    rig.container(CONTAINER, argv, stdin=take.get("stdin", False))
    executor = Executor(rig)
    async with service.connect(rig.settings, "executor") as other, other.serve(executor.table()):
        shims = Shims(rig, random.Random(SEED))
        async with service.connect(rig.settings, "manager") as bus, asyncio.timeout(100):
            await bus.events.ensure()
            await bus.call(shim.TAKE, shim.Take(container=CONTAINER, pod=POD, **take), id=POD)
            async with service.connect(rig.settings, "gateway") as gateway:
                yield gateway, shims


@contextlib.asynccontextmanager
async def tormented(shims: Shims) -> AsyncIterator[None]:
    task = asyncio.create_task(shims.torment())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def data(count: int) -> bytes:
    return b"".join(b"%d abcDEF\n" % k for k in range(count))


async def synced(bus: Bus, wanted: shim.ExecSync) -> shim.ExecSyncDone:
    """As the gateway asks: a shim that is not there yet will be."""
    while True:
        try:
            return await bus.call(shim.EXEC_SYNC, wanted, id=CONTAINER)
        except Unavailable:
            await pause(0.02)


async def said(one: Client, text: bytes) -> None:
    await one.write(text)
    one.stream.outgoing[0].end()


@pytest.mark.timeout(120)
def test_an_exec_goes_on_both_ways(rig: Rig) -> None:
    async def main() -> None:
        async with node(rig, ["sleep", "1000"]) as (bus, shims):
            one = await Client(bus).open()
            cmd = [sys.executable, "-c", _UPPER]
            wanted = shim.OpenExec(container=CONTAINER, stream=one.id, cmd=cmd, stdin=True)
            async with tormented(shims):
                await bus.call(shim.EXEC, wanted, id=CONTAINER)
                text = data(900_000)
                await said(one, text)
                assert await one.exited(90) == 7
            assert one.output[1] == one.output[2] == text.swapcase()
            assert shims.kills > 3

    asyncio.run(main())


@pytest.mark.timeout(120)
def test_a_terminal_goes_on(rig: Rig) -> None:
    async def main() -> None:
        async with node(rig, ["sleep", "1000"]) as (bus, shims):
            one = await Client(bus).open()
            script = "stty raw -echo; echo ready; head -c 300000; stty size; exit 9"
            wanted = shim.OpenExec(container=CONTAINER, stream=one.id, cmd=["sh", "-c", script], stdin=True, tty=True)
            await bus.call(shim.EXEC, wanted, id=CONTAINER)
            await one.until(lambda one: b"ready" in one.output[1])
            begin = len(one.output[1])
            async with tormented(shims):
                one.stream.resize(101, 33)
                text = data(30_000)[:300_000]
                for at in range(0, len(text), 10_000):
                    await one.write(text[at : at + 10_000])
                    await one.until(lambda one, at=at: len(one.output[1]) - begin >= at, 60)
                    await shims.killed_once_more(at // 50_000)
                assert await one.exited(60) == 9
            assert one.output[1][begin:].replace(b"\r\n", b"\n") == text + b"33 101\n"
            assert shims.kills > 3

    asyncio.run(main())


@pytest.mark.timeout(120)
def test_exec_sync_runs_once_and_the_next_shim_answers(rig: Rig, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(client, "RESEND", 0.1)
    mark = tmp_path / "ran"

    async def main() -> None:
        async with node(rig, ["sleep", "1000"]) as (bus, shims), tormented(shims):
            for k in range(12):
                size = 3_000_000 if k % 4 == 0 else 1000
                script = f"echo {k} >> {mark}; echo begun; sleep 0.3; head -c {size} /dev/zero; echo err >&2; exit {k}"
                wanted = shim.ExecSync(container=CONTAINER, cmd=["sh", "-c", script])
                done = await synced(bus, wanted)
                assert (done.exit_code, done.stderr) == (k, b"err\n")
                assert done.stdout == b"begun\n" + bytes(size)
            assert shims.kills > 5

    asyncio.run(main())
    assert mark.read_text().split() == [str(k) for k in range(12)]


def test_a_timeout_counts_from_the_first_shim_on(rig: Rig, tmp_path: Path) -> None:
    mark = tmp_path / "ran"

    async def main() -> None:
        async with node(rig, ["sleep", "1000"]) as (bus, shims):
            wanted = shim.ExecSync(container=CONTAINER, cmd=["sh", "-c", f"echo $$ >> {mark}; sleep 1000"], timeout=2)
            asking = asyncio.create_task(bus.call(shim.EXEC_SYNC, wanted, id=CONTAINER))
            while not mark.exists():
                await asyncio.wait({asking}, timeout=0.05)
            await shims.replace()
            with pytest.raises(DeadlineExceeded, match="did not end within 2 s"):
                await asking

    asyncio.run(main())
    [pid] = mark.read_text().split()
    until(lambda: not Path(f"/proc/{pid}").exists(), 5, "it was killed")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("logged", [True, False])
def test_an_attached_client_goes_on_both_ways(rig: Rig, logged: bool) -> None:
    async def main() -> None:
        log = str(rig.logs / "c.log") if logged else ""
        take = {"stdin": True, "stdin_once": True, "log_path": log}
        async with node(rig, [sys.executable, "-c", _UPPER], **take) as (bus, shims):
            one, watcher = await Client(bus).open(), await Client(bus).open()
            await bus.call(shim.ATTACH, shim.OpenAttach(container=CONTAINER, stream=one.id, stdin=True), id=CONTAINER)
            await bus.call(shim.ATTACH, shim.OpenAttach(container=CONTAINER, stream=watcher.id), id=CONTAINER)
            text = data(900_000)
            async with tormented(shims):
                await said(one, text)
                assert await one.exited(80) == 7
                assert await watcher.exited(20) == 7
            for each in (one, watcher):
                assert each.output[1] == each.output[2] == text.swapcase()
            assert shims.kills > 3

    asyncio.run(main())


@pytest.mark.timeout(120)
def test_one_that_is_behind_goes_on_through_reopened_logs(rig: Rig) -> None:
    async def main() -> None:
        log = rig.logs / "c.log"
        script = "read x; for i in 1 2 3 4 5; do seq 1 40000; read x; done"
        async with node(rig, ["sh", "-c", script], stdin=True, log_path=str(log)) as (bus, shims):
            slow, fast = await Client(bus, slow=True).open(), await Client(bus).open()
            for one in (slow, fast):
                wanted = shim.OpenAttach(container=CONTAINER, stream=one.id, stdin=True, stderr=False)
                await bus.call(shim.ATTACH, wanted, id=CONTAINER)
            want = b"".join(b"%d\n" % k for k in range(1, 40001))
            for k in range(1, 6):
                await fast.write(b"go\n")
                await fast.until(lambda one, k=k: len(one.output[1]) == k * len(want))
                log.rename(rig.logs / f"c.{k}")
                await bus.call(shim.REOPEN_LOG, shim.Named(container=CONTAINER), id=CONTAINER)
                await shims.replace()
            await fast.write(b"go\n")
            assert await fast.exited() == 0
            assert len(slow.output[1]) <= 256 << 10
            slow.hurry()
            assert await slow.exited() == 0
            assert slow.output[1] == fast.output[1] == want * 5

    asyncio.run(main())


def test_nothing_of_a_session_that_is_over_is_left_with_the_keeper(rig: Rig) -> None:
    async def main() -> None:
        async with node(rig, ["sleep", "1000"]) as (bus, shims):
            keeper = rig.containers[0].keeper.pid

            def held() -> int:
                return len(os.listdir(f"/proc/{keeper}/fd"))

            def ours() -> int:
                return len(os.listdir(f"/proc/{shims.process.pid}/fd"))

            before = held(), ours()
            for k in range(30):
                await bus.call(shim.EXEC_SYNC, shim.ExecSync(container=CONTAINER, cmd=["true"]), id=CONTAINER)
                one = await Client(bus).open()
                wanted = shim.OpenExec(container=CONTAINER, stream=one.id, cmd=["cat"], stdin=True, tty=k % 3 == 0)
                await bus.call(shim.EXEC, wanted, id=CONTAINER)
                if k % 2 and k % 3:
                    one.stream.outgoing[0].end()
                    await one.until(lambda one: one.code is not None)
                await one.leave()
                watcher = await Client(bus).open()
                await bus.call(shim.ATTACH, shim.OpenAttach(container=CONTAINER, stream=watcher.id), id=CONTAINER)
                await watcher.leave()
            while (held(), ours()) != before:
                await bus.connection.nats.flush()

    asyncio.run(main())
