"""The whole supervisor, as a process, on a real bus: what a kill of either leaves."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cribus.api import shim, shimd
from cribus.api.verb import Empty
from cribus.bus import service
from cribus.bus.service import Bus
from cribus.errors import InvalidArgument

from tests.harness import until
from tests.unit.shim.rig import Rig

PODS = ["a" * 64, "b" * 64]


def supervisor(rig: Rig) -> "subprocess.Popen[bytes]":
    return rig.popen([sys.executable, "-m", "cribus.shimd"])


def forked_by(pid: int) -> int:
    """The one child of a process."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


async def live(bus: Bus) -> dict[str, int]:
    return (await bus.call(shimd.LIST_SHIMS, Empty())).pids


def test_shims_outlive_their_supervisor_and_are_found_again(rig: Rig) -> None:
    async def main() -> None:
        process = supervisor(rig)
        async with service.connect(rig.settings, "manager") as bus, asyncio.timeout(40):
            for pod in PODS:
                await bus.call(shimd.START_SHIM, shimd.StartShim(pod=pod))
            before = await live(bus)
            assert before == {pod: rig.shim_pid(pod) for pod in PODS}
            rig.end(process)
            os.kill(before[PODS[1]], signal.SIGKILL)
            supervisor(rig)
            after = await live(bus)
            assert after[PODS[0]] == before[PODS[0]]
            assert (await bus.call(shimd.START_SHIM, shimd.StartShim(pod=PODS[1]))).pid != before[PODS[1]]
            await bus.call(shim.RELEASE, shim.Named(container="c"), id=PODS[1])
            for pod in PODS:
                await bus.call(shimd.STOP_SHIM, shimd.StopShim(pod=pod))
            assert await live(bus) == {}
            assert [rig.shim_pid(pod) for pod in PODS] == [0, 0]

    asyncio.run(main())


def test_a_killed_shim_is_there_again_at_once(rig: Rig) -> None:
    async def main() -> None:
        supervisor(rig)
        async with service.connect(rig.settings, "manager") as bus, asyncio.timeout(40):
            pid = (await bus.call(shimd.START_SHIM, shimd.StartShim(pod=PODS[0]))).pid
            begun = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            await bus.call(shim.RELEASE, shim.Named(container="c"), id=PODS[0])
            assert time.monotonic() - begun < 1
            assert rig.shim_pid(PODS[0]) not in (0, pid)

    asyncio.run(main())


def test_shims_live_when_the_fork_server_dies_and_the_supervisor_ends(rig: Rig) -> None:
    async def main() -> None:
        process = supervisor(rig)
        async with service.connect(rig.settings, "manager") as bus, asyncio.timeout(40):
            pid = (await bus.call(shimd.START_SHIM, shimd.StartShim(pod=PODS[0]))).pid
            os.kill(forked_by(process.pid), signal.SIGKILL)
            await asyncio.to_thread(until, lambda: process.poll() == 1, 10, "shimd ends")
            os.kill(pid, 0)
            supervisor(rig)
            assert await live(bus) == {PODS[0]: pid}

    asyncio.run(main())


def test_a_pod_needs_an_id(rig: Rig) -> None:
    async def main() -> None:
        supervisor(rig)
        async with service.connect(rig.settings, "manager") as bus:
            with pytest.raises(InvalidArgument, match="no pod's id"):
                await bus.call(shimd.START_SHIM, shimd.StartShim(pod="../x"))

    asyncio.run(main())


def test_a_shim_that_was_forked_as_its_supervisor_died_is_not_left_over(rig: Rig) -> None:
    async def main() -> None:
        supervisor(rig)
        async with service.connect(rig.settings, "manager") as bus, asyncio.timeout(40):
            await bus.call(shimd.LIST_SHIMS, Empty())
            stray = await asyncio.to_thread(rig.shim, PODS[0])
            await bus.call(shimd.STOP_SHIM, shimd.StopShim(pod=PODS[0]))
            assert await asyncio.to_thread(stray.wait, 10) in (0, -signal.SIGKILL)

    asyncio.run(main())
