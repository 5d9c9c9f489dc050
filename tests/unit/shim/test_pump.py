"""The pump alone, in forked children that are killed every few hundred microseconds."""

import errno
import os
import random
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cribus.shim import crilog, pump
from cribus.shim.crilog import LogFile
from cribus.shim.pump import Pump, Tools


class Held:
    """What the keeper would hold."""

    def __init__(self, path: Path) -> None:
        self.source, self.write = os.pipe()
        os.set_blocking(self.source, False)
        self.stage, self.page = pump.new_stage(), pump.new_page()
        self.path = path
        self.log = crilog.open_log(str(path))

    def pump(self) -> Pump:
        one = Pump("stdout", Tools(), (self.source, self.stage, self.page))
        one.recover(self.log)
        return one

    def text(self) -> bytes:
        found, used = crilog.parse(self.path.read_bytes(), b"stdout")
        assert used == self.path.stat().st_size, "the last line is not whole"
        return found


@pytest.fixture
def held(tmp_path: Path) -> Held:
    return Held(tmp_path / "a.log")


def step(one: Pump, log: LogFile | None) -> bytes | None:
    block = one.look(log)
    if block:
        assert one.look(log) == block, "what was not committed is shown again"
        one.commit(log, block)
    return block


def drained(one: Pump, log: LogFile | None) -> bytes:
    out = b""
    while block := step(one, log):
        out += block
    return out


def test_lines_parts_and_the_unfinished_end(held: Held) -> None:
    one = held.pump()
    os.write(held.write, b"one\ntwo\nthr")
    assert drained(one, held.log) == b"one\ntwo\nthr"
    assert (one.tail, one.read, one.logged) == (b"thr", 11, 8)
    os.write(held.write, b"ee\nend")
    os.close(held.write)
    assert drained(one, held.log) == b"ee\nend"
    assert one.ended
    lines = held.path.read_bytes().splitlines()
    assert [line.split(b" ", 2)[2] for line in lines] == [b"F one", b"F two", b"F three", b"P end"]


def test_no_log_moves_the_bytes_all_the_same(held: Held) -> None:
    one = held.pump()
    os.write(held.write, b"one\ntw")
    assert drained(one, None) == b"one\ntw"
    assert step(one, None) is None


def test_a_full_disk_drops_whole_batches_and_leaves_whole_lines(held: Held) -> None:
    one = held.pump()
    os.write(held.write, b"kept\nhal")
    step(one, held.log)
    full = LogFile(os.open("/dev/full", os.O_WRONLY))
    os.write(held.write, b"f\nlost\nand")
    step(one, full)
    assert (one.lost, one.tail, os.strerror(full.refused)) == (10, b"and", "No space left on device")
    os.write(held.write, b" kept\n")
    step(one, held.log)
    assert held.text() == b"kept\nand kept\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.ESTALE])
def test_whatever_a_disk_says_a_write_that_fails_leaves_nothing(
    held: Held, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """One that was mounted anew for reading refuses the cut as well."""
    written = held.log.size()

    def refuses(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", refuses)
        broken.setattr(os, "ftruncate", refuses)
        assert not held.log.write(b"x", written)
    assert held.log.refused == number
    assert held.log.write(b"x", written)
    assert held.log.refused == 0


def test_what_is_done_again_on_a_full_disk_counts_as_lost(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    one = held.pump()
    os.write(held.write, b"one\n")

    def dying() -> None:
        step(one, held.log)

    with monkeypatch.context() as killed:
        killed.setattr(LogFile, "write", lambda *_: os._exit(0))
        os.waitpid(child(dying), 0)
    again = Pump("stdout", Tools(), (held.source, held.stage, held.page))
    again.recover(LogFile(os.open("/dev/full", os.O_WRONLY)))
    assert (again.lost, again.logged) == (4, 4)


def test_the_end_of_a_stream_is_remembered(held: Held) -> None:
    os.write(held.write, b"x")
    os.close(held.write)
    drained(held.pump(), held.log)
    again = held.pump()
    assert again.ended
    assert (again.read, again.logged) == (1, 1)
    assert step(again, held.log) == b""
    assert held.text() == b"x"


def child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def write_all(held: Held, data: bytes, dice: random.Random) -> None:
    while data:
        count = dice.choice((7, 80, 4000, 30000, 70000))
        data = data[os.write(held.write, data[:count]) :]


def pump_on(held: Held) -> None:
    one = held.pump()
    poll = select.poll()
    poll.register(held.source, select.POLLIN)
    while step(one, held.log) != b"":
        poll.poll(50)


def test_killed_anywhere_every_byte_is_logged_once(held: Held) -> None:
    seed = int(os.environ.get("SEED", "0")) or time.time_ns() % (1 << 31)
    print("seed", seed)
    dice = random.Random(seed)
    lines = [b"%d " % k + b"y" * dice.choice((0, 3, 90, 90, 90, 20000, 50000)) + b"\n" for k in range(1200)]
    data = b"".join(lines) + b"no end"

    def write() -> None:
        os.close(held.source)
        write_all(held, data, dice)

    writer = child(write)
    os.close(held.write)
    kills = 0
    while os.waitpid(writer, os.WNOHANG) == (0, 0):
        one = child(lambda: pump_on(held))
        signal.sigtimedwait([], dice.random() * 0.01)
        os.kill(one, signal.SIGKILL)
        os.waitpid(one, 0)
        kills += 1
    pump_on(held)
    assert kills > 20
    assert held.text() == data


def test_a_flush_that_was_killed_leaves_what_is_staged(held: Held) -> None:
    one = held.pump()
    os.write(held.write, b"end")
    drained(one, held.log)
    os.write(held.write, b"more\n")
    assert one.look(held.log) == b"more\n"

    def killed(count: int) -> None:
        raise KeyboardInterrupt

    one._drop = killed  # type: ignore[method-assign]
    page = one._page.set
    one._page.set = lambda slot, phase: killed(0) if phase == 0 else page(slot, phase)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        one.flush(held.log)
    assert drained(held.pump(), held.log) == b"more\n"
