import os

from cribus.shim.writer import Writer

from tests.unit.shim.conftest import Turning


def test_in_order_at_the_readers_pace_then_the_end(turning: Turning) -> None:
    read, write = os.pipe()
    took: list[int] = []
    closed: list[bool] = []
    writer = Writer(turning.loop, write)
    data = os.urandom(300_000)
    writer.write(data[:200_000], took.append)
    writer.write(data[200_000:], took.append)
    writer.end(lambda: closed.append(True))
    assert sum(took) < len(data)
    assert not closed
    got = b""
    os.set_blocking(read, False)

    def taken() -> bool:
        nonlocal got
        try:
            got += os.read(read, 65536)
        except BlockingIOError:
            return False
        return bool(closed)

    turning.until(taken)
    assert got + os.read(read, 65536) == data
    assert sum(took) == len(data)
    assert not writer.open


def test_a_reader_that_left_takes_everything(turning: Turning) -> None:
    read, write = os.pipe()
    os.close(read)
    took: list[int] = []
    writer = Writer(turning.loop, write)
    writer.write(b"abc", took.append)
    writer.write(b"de", took.append)
    assert took == [3, 2]
    writer.close()
