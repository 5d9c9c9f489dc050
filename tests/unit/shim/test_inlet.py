"""Input on its way to a process, in forked children that are killed every few hundred microseconds."""

import os
import random
import select
import signal
import time
import tty

from cribus.shim import memo, pump
from cribus.shim.inlet import Inlet
from cribus.shim.loop import Loop
from cribus.shim.memo import Memo

from tests.turning import Turning


class Held:
    """What the keeper would hold."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.stage = pump.new_stage()
        self.memo = memo.new(b"")

    def inlet(self, loop: Loop) -> Inlet:
        return Inlet(loop, Memo(self.memo), (self.stage, self.target), lambda: os.close(self.target))


def test_bytes_pass_and_the_end_comes_after_them(turning: Turning) -> None:
    read, write = os.pipe()
    one = Held(write).inlet(turning.loop)
    took: list[int] = []
    one.took = took.append
    data = os.urandom(300_000)
    ended: list[bool] = []
    one.write(data)
    one.end(lambda: ended.append(True))
    assert ended == []
    got = b""

    def take(_: int) -> None:
        nonlocal got
        got += os.read(read, 65536)

    turning.loop.watch(read, select.EPOLLIN, take)
    turning.until(lambda: ended and len(got) == len(data))
    assert got == data
    assert sum(took) == len(data)
    turning.loop.forget(read)
    assert os.read(read, 1) == b""
    one.end(lambda: ended.append(True))
    assert ended == [True, True]


def test_a_reader_that_has_gone_takes_everything(turning: Turning) -> None:
    read, write = os.pipe()
    held = Held(write)
    one = held.inlet(turning.loop)
    took: list[int] = []
    one.took = took.append
    one.write(b"a")
    os.close(read)
    one.write(b"bc")
    one.write(b"d")
    assert sum(took) == 4
    assert Memo(held.memo)[memo.ENTERED] == 4


def _feed(held: Held, data: bytes, dice: random.Random) -> None:
    """As a client does: from where the bytes were taken."""
    loop = Loop()
    one = held.inlet(loop)
    at = one.recover()
    one.took = lambda count: None
    one.go()
    while at < len(data):
        piece = data[at : at + dice.choice((1, 50, 3000, 40000, 65536))]
        at += len(piece)
        one.write(piece)
        while one._queue:
            loop.soon(loop.stop)
            loop.run()
            select.select([], [held.target], [], 0.01)
    one.end(lambda: None)


def _killed_anywhere(target: int, source: int, size: int) -> None:
    seed = int(os.environ.get("SEED", "0")) or time.time_ns() % (1 << 31)
    print("seed", seed)
    dice = random.Random(seed)
    data = dice.randbytes(size)
    held = Held(target)
    os.set_blocking(source, False)
    deadline = time.monotonic() + 60
    got, kills = b"", 0
    while len(got) < len(data):
        child = os.fork()
        if child == 0:
            try:
                _feed(held, data, dice)
            finally:
                os._exit(0)
        if kills % 2:  # on a busy machine the others may be killed before they have done anything
            select.select([source], [], [], 10)
        end, enough = time.monotonic() + dice.random() * 0.004, len(got) + size // 40
        while (left := end - time.monotonic()) > 0 and len(got) < enough:  # however fast it is, it is killed often
            if select.select([source], [], [], left)[0]:
                got += os.read(source, size // 80)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills += 1
        assert time.monotonic() < deadline
    assert got == data
    assert kills > 20


def test_killed_anywhere_every_byte_enters_once() -> None:
    read, write = os.pipe()
    _killed_anywhere(write, read, 8 << 20)


def test_killed_anywhere_every_key_is_pressed_once() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    _killed_anywhere(master, slave, 900_000)
