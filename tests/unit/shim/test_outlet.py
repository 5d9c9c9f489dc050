import os
import select
import tty
from collections.abc import Iterator

import pytest
from cribus.shim import kept, pump
from cribus.shim.kept import Kept
from cribus.shim.outlet import Outlet
from cribus.shim.pump import Tools


@pytest.fixture
def keep() -> Iterator[Kept]:
    fd = kept.new()
    yield Kept(fd)
    os.close(fd)


def test_a_pipe(keep: Kept) -> None:
    read, write = os.pipe()
    one = Outlet(Tools(), read, kept=keep)
    assert one.move(10) is None
    os.write(write, b"one two")
    assert one.waiting() == 7
    assert (one.move(4), one.move(100), one.move(100)) == (4, 3, None)
    os.close(write)
    assert one.move(100) == 0
    assert keep.read(0, 100) == b"one two"
    os.close(read)


def test_a_terminal_whose_stage_an_earlier_shim_has_filled(keep: Kept) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    stage = pump.new_stage()
    os.write(stage, b"staged ")
    one = Outlet(Tools(), master, stage, keep)
    os.write(slave, b"shown")
    assert select.select([master], [], [], 5)[0]
    assert one.waiting() == 12
    assert (one.move(100), one.move(100), one.move(100)) == (7, 5, None)
    os.close(slave)
    assert one.move(100) == 0
    assert keep.read(0, 100) == b"staged shown"
    for fd in (master, stage):
        os.close(fd)


def test_what_nobody_wants_and_what_is_too_much_goes_nowhere() -> None:
    read, write = os.pipe()
    fd = kept.new()
    os.write(write, b"0123456789")
    assert Outlet(Tools(), read).move(4) == 4
    one = Outlet(Tools(), read, kept=Kept(fd, 3))
    assert (one.move(10), one.move(10), one.move(10)) == (3, 3, None)
    assert os.pread(fd, 10, 0) == b"456"
    for each in (read, write, fd):
        os.close(each)
