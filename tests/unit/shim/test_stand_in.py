"""Keepers that are killed: another stands in, and what the shim had stays."""

import asyncio
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cribus.api import executor, shim
from cribus.api.events import Event
from cribus.bus import service
from cribus.executor import keepers
from cribus.linux.process import is_running, start_time
from cribus.shim import crilog, stand_in, taken
from cribus.shim.exits import News
from cribus.shim.keepers import Keeper
from cribus.shim.loop import Loop

from tests.harness import until
from tests.unit.shim.peers import Client
from tests.unit.shim.rig import Contained, Rig
from tests.unit.shim.test_taken import logged, news, take

POD, CONTAINER = "a" * 64, "c" * 64
SEED = int(os.environ.get("SEED", "0")) or time.time_ns() % (1 << 31)
_COUNTER = """
import os, sys
told = os.open(sys.argv[1], os.O_RDONLY)
k = 0
while os.read(told, 1):
    for _ in range(3000):
        k += 1
        os.write(1, b"%d\\n" % k)
os.write(1, b"no end")
sys.exit(9)
"""


class Counter:
    """A container that writes 3000 numbers more whenever it is told to."""

    def __init__(self, rig: Rig) -> None:
        fifo = rig.base / "told"
        os.mkfifo(fifo)
        self.log = rig.logs / "c.log"
        self.one: Contained = rig.container(CONTAINER, [sys.executable, "-c", _COUNTER, str(fifo)])
        self.tell = os.open(fifo, os.O_WRONLY)
        self.count = 0

    def go(self) -> None:
        os.write(self.tell, b"1")
        self.count += 3000

    def written(self) -> None:
        until(lambda: self.log.read_bytes().endswith(b" F %d\n" % self.count), 20, f"{self.count} is logged")

    def prove(self, rig: Rig) -> None:
        os.close(self.tell)
        event = news(rig)
        assert (event.exit_code, event.exit_known) == (9, True)
        want = b"".join(b"%d\n" % k for k in range(1, self.count + 1)) + b"no end"
        assert logged(self.log)[b"stdout"] == want


def _kill_keeper(one: Contained) -> None:
    pid = one.keeper_pid()
    os.kill(pid, signal.SIGKILL)
    if pid == one.keeper.pid:
        one.keeper.wait()
    until(lambda: one.keeper_pid() not in (0, pid), 10, "another stands in")


@pytest.mark.timeout(120)
def test_keepers_and_shims_killed_one_after_another_lose_nothing(rig: Rig) -> None:
    print("SEED", SEED)
    dice = random.Random(SEED)
    counter = Counter(rig)
    process = rig.shim(POD)
    take(rig, counter.log)
    for _ in range(12):
        counter.go()
        if dice.random() < 0.5:
            _kill_keeper(counter.one)
        else:
            rig.end(process)
            process = rig.shim(POD)
    counter.written()
    counter.prove(rig)


def test_both_at_once_and_the_output_goes_on(rig: Rig) -> None:
    counter = Counter(rig)
    process = rig.shim(POD)
    take(rig, counter.log)
    counter.go()
    counter.written()
    process.send_signal(signal.SIGSTOP)
    for pid in (counter.one.keeper_pid(), process.pid):
        os.kill(pid, signal.SIGKILL)
    counter.one.keeper.wait()
    rig.end(process)
    with counter.log.open("ab") as log:
        log.write(b"2026-01-01T00:00:00.000000000Z stdout F cut sho")  # as if it had been in the middle of it
    counter.go()
    rig.shim(POD)
    counter.written()
    counter.prove(rig)


def _all_three(rig: Rig) -> Counter:
    """Keeper and shim are killed together, then the container."""
    counter = Counter(rig)
    process = rig.shim(POD)
    take(rig, counter.log)
    process.send_signal(signal.SIGSTOP)
    for pid in (counter.one.keeper_pid(), process.pid):
        os.kill(pid, signal.SIGKILL)
    counter.one.keeper.wait()
    rig.end(process)
    started = start_time(counter.one.pid)
    counter.one.kill()
    until(lambda: not is_running(counter.one.pid, started), 10, "it is dead")
    os.close(counter.tell)
    return counter


def test_both_at_once_and_then_the_container_whose_end_the_executor_has_seen(rig: Rig) -> None:
    counter = _all_three(rig)
    rig.shim(POD)
    seen = {"code": 137, "signal": 9, "at": time.time_ns()}
    (counter.one.folder / "exit.new").write_text(json.dumps(seen))
    (counter.one.folder / "exit.new").rename(counter.one.folder / "exit.json")
    event = news(rig)
    assert (event.exit_code, event.exit_known, event.at) == (137, True, seen["at"])


def test_both_at_once_and_then_the_container_whose_end_nobody_has_seen(rig: Rig) -> None:
    _all_three(rig)

    async def state(request: executor.Named) -> executor.State:
        return executor.State(container=request.container)

    async def main() -> Event:
        async with service.connect(rig.settings, "executor") as bus, bus.serve({executor.STATE: state}):
            await asyncio.to_thread(rig.shim, POD)
            return await asyncio.to_thread(news, rig)

    event = asyncio.run(main())
    assert (event.exit_code, event.exit_known) == (255, False)


@pytest.mark.parametrize("lost", ["state.json", "exit.json"])
def test_a_keeper_that_cannot_be_found_yet_is_waited_for_and_not_replaced(rig: Rig, lost: str) -> None:
    """Files of the run directory were deleted, and the executor comes up later than the shim."""
    counter = Counter(rig)
    process = rig.shim(POD)
    take(rig, counter.log)
    counter.go()
    counter.written()
    rig.end(process)
    for name in ("keeper.sock", "alive", lost):
        (counter.one.folder / name).unlink(missing_ok=True)
    counter.go()
    rig.shim(POD)
    assert counter.one.keeper_pid() == 0
    os.kill(counter.one.keeper.pid, signal.SIGHUP)
    counter.written()
    assert counter.one.keeper_pid() == counter.one.keeper.pid
    counter.prove(rig)


def test_a_session_outlives_keeper_and_shim_one_after_the_other(rig: Rig) -> None:
    async def main() -> None:
        one = rig.container(CONTAINER, ["cat"], stdin=True)
        process = await asyncio.to_thread(rig.shim, POD)
        async with service.connect(rig.settings, "manager") as bus, asyncio.timeout(60):
            await bus.events.ensure()
            wanted = shim.Take(container=CONTAINER, pod=POD, stdin=True, stdin_once=True, log_path=str(rig.logs / "l"))
            await bus.call(shim.TAKE, wanted, id=POD)
            async with service.connect(rig.settings, "gateway") as gateway:
                client = await Client(gateway).open()
                opened = shim.OpenAttach(container=CONTAINER, stream=client.id, stdin=True)
                await gateway.call(shim.ATTACH, opened, id=CONTAINER)
                for k in range(3):
                    await client.write(b"%d" % k * 100_000)
                    await asyncio.to_thread(_kill_keeper, one)
                    await asyncio.to_thread(rig.end, process)
                    process = await asyncio.to_thread(rig.shim, POD)
                client.stream.outgoing[0].end()
                assert await client.exited() == 0
                assert client.output[1] == b"".join(b"%d" % k * 100_000 for k in range(3))

    asyncio.run(main())


def test_nothing_is_put_in_the_place_of_the_keeper_of_a_dead_container(rig: Rig) -> None:
    one = rig.container(CONTAINER, ["true"])
    rig.shim(POD)
    take(rig)
    assert news(rig).exit_code == 0
    rig.end(one.keeper)
    assert one.keeper_pid() == 0


@pytest.mark.parametrize("noticed", [False, True])
def test_one_that_is_told_to_end_waits_until_init_is_dead_but_for_nobody_to_reap_it(
    tmp_path: Path, noticed: bool
) -> None:
    init = subprocess.Popen(["sleep", "1000"])
    pidfd = os.pidfd_open(init.pid)
    with stand_in.start(str(tmp_path), {"pidfd": pidfd}) as sock:
        ended = os.pidfd_open(keepers.pid(sock))
        if noticed:
            init.kill()
            assert select.select([pidfd], [], [], 20)[0]
        for request in (b"get", b"end"):
            sock.send(request)
            sock.recv(100)
    fifo = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    if not noticed:
        assert stand_in._has_writer(fifo)
        init.kill()
    assert select.select([ended], [], [], 20)[0]
    assert not stand_in._has_writer(fifo)
    init.wait()
    for fd in (fifo, ended, pidfd):
        os.close(fd)


def test_what_is_not_a_pipe_is_not_opened_again(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        assert stand_in._other_end(os.getpid(), file.fileno(), os.O_RDONLY) == -1
    read, write = os.pipe()
    again = stand_in._other_end(os.getpid(), write, os.O_RDONLY)
    os.write(write, b"x")
    assert os.read(again, 9) == b"x"
    for fd in (read, write, again):
        os.close(fd)
    assert stand_in._other_end(os.getpid(), write, os.O_RDONLY) == -1
    (tmp_path / "state.json").write_text(f'{{"pid":{os.getpid()},"started":1}}')
    assert stand_in.rescued(str(tmp_path), shim.Take(container="c", pod="p")) == {}


def test_a_line_that_was_cut_short_is_taken_off(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"whole\n" * 10_000 + b"cut")
    assert crilog.open_log(str(path)).start == 60_000
    path.write_bytes(b"cut")
    assert crilog.open_log(str(path)).start == 0


def test_one_that_is_killed_before_it_was_spoken_to_has_a_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def start(folder: str, hold: dict[str, int]) -> socket.socket:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionRefusedError
        return ours

    monkeypatch.setattr(stand_in, "start", start)
    container = taken.Container.__new__(taken.Container)
    gone, there = socket.socketpair()
    there.close()
    loop = Loop()
    container.keeper, container._loop, container.id = Keeper(gone), loop, CONTAINER
    container._care = taken.Care(loop, str(tmp_path), News(str(tmp_path), POD, lambda event, done: None))
    container.logs, container.exit = [], None
    container._fds = {"pidfd": os.pidfd_open(os.getpid())}
    container._keeper_said(0)
    assert container.keeper.sock is ours
    assert len(tries) == 3
    os.close(container._fds["pidfd"])
    ours.close()
    theirs.close()
