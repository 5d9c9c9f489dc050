"""Attached clients: live, behind, and speaking."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cribus.api import shim
from cribus.bus import service
from cribus.bus.service import Bus
from cribus.errors import FailedPrecondition
from cribus.shim import crilog, pump
from cribus.shim.attach import Follower, Place, resize
from cribus.shim.pump import Pump, Tools

from tests.unit.shim.peers import Client
from tests.unit.shim.rig import Rig

POD, CONTAINER = "a" * 64, "c" * 64


class Window:
    """A sender with room for so much."""

    def __init__(self, room: int) -> None:
        self.left = room
        self.got = b""

    def room(self) -> int:
        return self.left

    def write(self, data: bytes | memoryview) -> int:
        taken = bytes(data[: self.left])
        self.left -= len(taken)
        self.got += taken
        return len(taken)

    def end(self) -> None:
        self.left = 0


def test_one_that_is_behind_reads_the_log_through_a_reopened_file(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    one = Pump("stdout", Tools(), (read, pump.new_stage(), pump.new_page()))
    other = HEAD = b"2026-01-01T00:00:00.000000000Z stderr F no\n"
    log = crilog.open_log(str(tmp_path / "a.log"))
    window = Window(10)
    follower = Follower(one, window)
    sent = b""
    for k in range(60):
        data = b"%d " % k + b"x" * (k % 7 * 5000) + (b"\n" if k % 3 else b"")
        sent += data
        os.write(write, data)
        if k == 30:
            log.next = crilog.open_log(str(tmp_path / "b.log"))
            log = log.next
        log.write(other, log.size())
        before = Place(log, log.size(), one.logged)
        block = one.step(log)
        assert block == data
        follower.block(block, before)
        if k % 5 == 0:
            window.left += 9000
            follower.go()
    assert HEAD not in window.got
    assert not follower.stuck
    while len(window.got) < len(sent):
        window.left = 50_000
        follower.go()
    assert window.got == sent
    assert follower.level


def test_without_a_log_it_is_stuck_until_it_has_room(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    one = Pump("stdout", Tools(), (read, pump.new_stage(), pump.new_page()))
    window = Window(4)
    follower = Follower(one, window)
    os.write(write, b"0123456789")
    follower.block(one.step(None) or b"", None)
    assert follower.stuck
    window.left = 100
    follower.go()
    assert (window.got, follower.stuck, follower.level) == (b"0123456789", False, True)


def test_resize_of_what_is_no_terminal_is_nothing() -> None:
    resize(-1, 80, 24)
    resize(0, 0, 70000)


@contextlib.asynccontextmanager
async def taken(rig: Rig, argv: list[str], **take: Any) -> AsyncIterator[Bus]:
    rig.container(CONTAINER, argv, stdin=take.get("stdin", False))
    await asyncio.to_thread(rig.shim, POD)
    async with service.connect(rig.settings, "manager") as bus, asyncio.timeout(60):
        await bus.events.ensure()
        await bus.call(shim.TAKE, shim.Take(container=CONTAINER, pod=POD, **take), id=POD)
        async with service.connect(rig.settings, "gateway") as gateway:
            yield gateway


async def attached(bus: Bus, *, slow: bool = False, stdin: bool = False) -> Client:
    client = await Client(bus, slow=slow).open()
    wanted = shim.OpenAttach(container=CONTAINER, stream=client.id, stdin=stdin)
    await bus.call(shim.ATTACH, wanted, id=CONTAINER)
    return client


def test_stdin_once_ends_the_program(rig: Rig) -> None:
    async def main() -> None:
        async with taken(rig, ["sh", "-c", "cat; exit 6"], stdin=True, stdin_once=True) as bus:
            client = await attached(bus, stdin=True)
            watcher = await attached(bus)
            data = os.urandom(1_000_000)
            await client.write(data)
            client.stream.outgoing[0].end()
            assert await client.exited() == 6
            assert await watcher.exited() == 6
            assert client.output[1] == watcher.output[1] == data

    asyncio.run(main())


def test_without_stdin_once_the_program_reads_on(rig: Rig) -> None:
    async def main() -> None:
        async with taken(rig, ["sh", "-c", "read a; read b; echo $a $b"], stdin=True) as bus:
            first = await attached(bus, stdin=True)
            await first.write(b"one\n")
            first.stream.outgoing[0].end()
            await first.leave()
            second = await attached(bus, stdin=True)
            await second.write(b"two\n")
            assert await second.exited() == 0
            assert second.output[1] == b"one two\n"

    asyncio.run(main())


def test_a_slow_reader_slows_itself_alone_and_misses_nothing(rig: Rig) -> None:
    async def main() -> None:
        log = str(rig.logs / "c.log")
        script = "read x; i=0; while [ $i -lt 4 ]; do seq 1 100000; i=$((i+1)); done"
        async with taken(rig, ["sh", "-c", script], stdin=True, log_path=log) as bus:
            slow, fast = await attached(bus, slow=True, stdin=True), await attached(bus)
            await slow.write(b"go\n")
            assert await fast.exited() == 0
            assert len(slow.output[1]) <= 256 << 10
            slow.hurry()
            assert await slow.exited() == 0
            want = b"".join(b"%d\n" % k for k in range(1, 100001)) * 4
            assert fast.output[1] == want
            assert slow.output[1] == want

    asyncio.run(main())


def test_an_exited_container_has_nothing_to_attach_to(rig: Rig) -> None:
    async def main() -> None:
        async with taken(rig, ["true"]) as bus:
            assert rig.containers[0].dead()
            with pytest.raises(FailedPrecondition, match="not running"):
                await attached(bus)

    asyncio.run(main())
