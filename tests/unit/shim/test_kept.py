import os
import resource

import pytest
from cribus.shim import kept
from cribus.shim.kept import Kept


def test_every_byte_has_its_offset_and_the_next_one_knows_the_size() -> None:
    fd = kept.new()
    one = Kept(fd)
    read, write = os.pipe2(os.O_NONBLOCK)
    one.append(b"first ")
    with pytest.raises(BlockingIOError):
        one.splice(read, 100)
    os.write(write, b"second third")
    assert one.splice(read, 7) == 7
    again = Kept(fd)
    assert (again.size, again.read(6, 100)) == (13, b"second ")
    assert again.splice(read, 100) == 5
    os.close(write)
    assert again.splice(read, 100) == 0
    assert again.read(0, 100) == b"first second third"
    os.close(read)
    os.close(fd)


def test_what_was_acknowledged_takes_no_memory() -> None:
    fd = kept.new()
    one = Kept(fd)
    for k in range(400):
        one.append(os.urandom(10007))
        one.drop(k * 10007)
        assert os.fstat(fd).st_blocks * 512 <= 200_000
    assert one.size == 400 * 10007
    assert len(one.read(399 * 10007, 1 << 20)) == 10007
    os.close(fd)


def test_no_more_than_its_limit() -> None:
    fd = kept.new()
    one = Kept(fd, 70000)
    assert one.room() == 65536
    one.append(bytes(65536))
    assert one.room() == 70000 - 65536
    assert Kept(fd).room() == resource.getpagesize() * 16
    os.close(fd)
