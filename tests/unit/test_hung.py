"""Who hangs, and who does not."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from cribus import hung
from cribus.hung import Overseen, Watch
from cribus.linux import process

from tests.harness import until


class Clock:
    """Monotonic time, at will."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr(time, "monotonic", one)
    return one


class Kernel:
    """What the kernel says of the process."""

    def __init__(self) -> None:
        self.state = "S"
        self.used = 0.0


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    one = Kernel()
    monkeypatch.setattr(process, "work", lambda pid: (one.state, one.used))
    return one


def _silence(clock: Clock, watch: Watch, beat: int = 7, most: int = 60) -> tuple[int, str]:
    """After how many looks, a second each, it hangs, and how; (0, "") if it does not within `most`."""
    watch.look(beat)
    for count in range(1, most + 1):
        clock.now += 1.0
        why = watch.look(beat)
        if why:
            return count, why
    return 0, ""


def test_signs_of_life(clock: Clock, kernel: Kernel) -> None:
    watch = Watch(1)
    for beat in range(1, 100):
        clock.now += 2.5
        assert watch.look(beat) == ""


def test_silence(clock: Clock, kernel: Kernel) -> None:
    count, why = _silence(clock, Watch(1))
    assert count == 3
    assert "no sign of life for 3 s: state S" in why


def test_stopped(clock: Clock, kernel: Kernel) -> None:
    kernel.state = "T"
    assert _silence(clock, Watch(1)) == (3, "no sign of life for 3 s: stopped by a signal")


def test_before_its_first_sign_only_a_stopped_one_hangs(clock: Clock, kernel: Kernel) -> None:
    assert _silence(clock, Watch(1), beat=0) == (0, "")
    kernel.state = "T"
    assert _silence(clock, Watch(1), beat=0)[0] == 3


def test_a_disk_may_take_longer(clock: Clock, kernel: Kernel) -> None:
    kernel.state = "D"
    assert _silence(clock, Watch(1))[0] == 10


def test_one_that_works_or_waits_for_a_processor_may_take_much_longer(clock: Clock, kernel: Kernel) -> None:
    watch = Watch(1)
    watch.look(7)
    for second in range(1, 31):
        clock.now += 1.0
        kernel.used += 0.3
        assert bool(watch.look(7)) == (second == 30)


def test_what_the_watcher_lost_is_not_held_against_others(clock: Clock, kernel: Kernel) -> None:
    watch = Watch(1)
    watch.look(7)
    clock.now += 3600
    assert watch.look(7) == ""
    clock.now += 3600
    assert watch.look(7) == "", "two looks count two seconds"
    clock.now += 1
    assert watch.look(7) != ""


def test_one_that_is_gone_does_not_hang(clock: Clock, kernel: Kernel) -> None:
    kernel.state = ""
    assert _silence(clock, Watch(1)) == (0, "")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as one:
        yield one
        one.kill()


def _stop(one: subprocess.Popen[bytes]) -> None:
    one.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, one.pid, os.WSTOPPED)


def test_real_processes(sleeper: subprocess.Popen[bytes]) -> None:
    assert not hung.stopped(sleeper.pid)
    _stop(sleeper)
    assert hung.stopped(sleeper.pid)
    hung.kill_pid(sleeper.pid)
    assert sleeper.wait(10) == -signal.SIGKILL
    hung.kill_pid(sleeper.pid)


def test_time_that_a_process_uses_is_seen() -> None:
    before = process.work(os.getpid())[1]
    end = time.process_time() + 0.05
    while time.process_time() < end:
        sum(range(1000))
    assert process.work(os.getpid())[1] > before + 0.04
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            first = process.work(busy.pid)[1]
            until(lambda: process.work(busy.pid)[1] > first + 0.05, 20, "it runs or waits to")
        finally:
            busy.kill()


def _killed(one: subprocess.Popen[bytes], told: list[str]) -> None:
    told.append("hung")
    one.kill()


async def _overseen(one: subprocess.Popen[bytes], told: list[str]) -> None:
    pidfd = os.pidfd_open(one.pid)
    died = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_reader(pidfd, died.set_result, None)
    with Overseen(one.pid, lambda: _killed(one, told)):
        async with asyncio.timeout(10):
            await died
    asyncio.get_running_loop().remove_reader(pidfd)
    os.close(pidfd)


def test_whoever_waits_for_a_stopped_process_learns_of_its_end(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hung, "LOOK", 0.01)
    told: list[str] = []
    _stop(sleeper)
    asyncio.run(_overseen(sleeper, told))
    assert told == ["hung"]
    assert sleeper.wait(10) == -signal.SIGKILL


def test_one_that_only_takes_its_time_is_left_alone(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hung, "LOOK", 0.01)

    async def waited() -> None:
        with Overseen(sleeper.pid, sleeper.kill):
            await asyncio.sleep(0.1)

    asyncio.run(waited())
    assert sleeper.poll() is None
