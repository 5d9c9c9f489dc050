"""Attached clients: live, behind, and speaking."""

import asyncio
import contextlib
import os
import signal
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

from tests.harness import until
from tests.unit.shim.peers import Client
from tests.unit.shim.rig import Rig

POD, CONTAINER = "a" * 64, "c" * 64


class Window:
    """A sender with room for so much."""

    acked = 0

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

    def push(self) -> None:
        raise AssertionError("only what somebody else keeps is pushed")

    def end(self) -> None:
        self.left = 0


class Marks:
    """Where a follower said that it reads."""

    def __init__(self) -> None:
        self.last: Place | None = None

    def __call__(self, place: Place | None) -> None:
        self.last = place


def test_one_that_is_behind_reads_the_log_through_a_reopened_file(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    one = Pump("stdout", Tools(), (read, pump.new_stage(), pump.new_page()))
    other = HEAD = b"2026-01-01T00:00:00.000000000Z stderr F no\n"
    log = crilog.open_log(str(tmp_path / "a.log"))
    window = Window(10)
    marks = Marks()
    follower = Follower(one, window, 0, marks)
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
        block = one.look(log)
        assert block == data
        follower.block(block, before)
        one.commit(log, block)
        if k % 9 == 4:  # as if the shim had been killed: the next one knows what was given, and the place
            place = marks.last
            follower = Follower(one, window, len(window.got), marks)
            if place is not None:
                follower.fall_back(place)
        if k % 5 == 0:
            window.left += 9000
            follower.go()
    assert HEAD not in window.got
    assert not follower.stuck
    assert follower.file is not None
    while len(window.got) < len(sent):
        window.left = 50_000
        follower.go()
    assert window.got == sent
    assert follower.level
    assert marks.last is None


def test_without_a_log_it_is_stuck_until_it_has_room(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    one = Pump("stdout", Tools(), (read, pump.new_stage(), pump.new_page()))
    window = Window(4)
    follower = Follower(one, window, 0, Marks())
    os.write(write, b"0123456789")
    follower.block(one.look(None) or b"", None)
    assert follower.stuck
    window.left = 100
    follower.block(one.look(None) or b"", None)
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


async def attached(bus: Bus, *, slow: bool = False, stdin: bool = False, whole: bool = False) -> Client:
    client = await Client(bus, slow=slow).open()
    wanted = shim.OpenAttach(container=CONTAINER, stream=client.id, stdin=stdin, whole=whole)
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


@pytest.mark.parametrize("log", ["c.log", ""])
def test_what_a_killed_shim_had_just_taken_off_the_pipe_comes_though_nothing_follows(rig: Rig, log: str) -> None:
    faults = rig.base / "faults"
    faults.mkdir()
    rig.env["CRIBUS_FAULTS"] = str(faults)
    path = str(rig.logs / log) if log else ""

    async def main() -> None:
        async with taken(rig, ["sh", "-c", "while read x; do echo got $x; done"], stdin=True, log_path=path) as bus:
            client = await attached(bus, stdin=True)
            await client.write(b"one\n")
            await client.until(lambda one: one.output[1] == b"got one\n")
            victim = rig.processes[-1]
            (faults / "shim.log.staged").write_text("9 0\n")
            await client.write(b"two\n")
            assert await asyncio.to_thread(victim.wait, 20) == -signal.SIGKILL
            await asyncio.to_thread(rig.shim, POD)
            await client.until(lambda one: one.output[1] == b"got one\ngot two\n")
            await client.leave()

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


def test_who_wants_all_of_it_gets_it_from_the_first_byte(rig: Rig) -> None:
    async def main() -> None:
        log = rig.logs / "c.log"
        rig.logs.mkdir()
        log.write_bytes(b"2026-01-01T00:00:00.000000000Z stdout F of another container\n")
        script = "seq 1 200000; echo err >&2; read x; echo said $x; exit 3"
        async with taken(rig, ["sh", "-c", script], stdin=True, log_path=str(log)) as bus:
            await asyncio.to_thread(until, lambda: log.read_bytes().endswith(b" err\n"), 20, "it is logged")
            client = await attached(bus, whole=True, stdin=True)
            await client.write(b"bye\n")
            assert await client.exited() == 3
            want = b"".join(b"%d\n" % k for k in range(1, 200001)) + b"said bye\n"
            assert (bytes(client.output[1]), bytes(client.output[2])) == (want, b"err\n")
            late = await attached(bus, whole=True)
            assert await late.exited() == 3
            assert late.output == client.output

    asyncio.run(main())


def test_a_slow_reader_without_a_log_gets_everything_and_the_code(rig: Rig) -> None:
    async def main() -> None:
        async with taken(rig, ["sh", "-c", "read x; seq 1 200000; exit 4"], stdin=True) as bus:
            slow, other = await attached(bus, slow=True, stdin=True), await attached(bus)
            await slow.write(b"go\n")
            await slow.until(lambda one: len(one.output[1]) == 256 << 10)
            slow.hurry()
            assert await slow.exited() == 4
            assert await other.exited() == 4
            assert slow.output[1] == other.output[1] == b"".join(b"%d\n" % k for k in range(1, 200001))

    asyncio.run(main())
