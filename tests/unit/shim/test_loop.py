import os
import time
from functools import partial

from cribus.shim.loop import READ, WRITE, Loop


def test_descriptors_and_moments() -> None:
    loop, seen = Loop(), []
    read, write = os.pipe()

    def readable(_: int) -> None:
        seen.append(os.read(read, 9))
        loop.stop()

    def write_later() -> None:
        os.write(write, b"x")

    loop.watch(read, READ, readable)
    loop.later(0.05, lambda: seen.append(b"late"))
    loop.later(0.02, lambda: seen.append(b"never")).cancel()
    loop.soon(lambda: seen.append(b"soon"))
    loop.later(0.07, write_later)
    begun = time.monotonic()
    loop.run()
    assert seen == [b"soon", b"late", b"x"]
    assert time.monotonic() - begun >= 0.07


def test_watch_replaces_and_forget_is_idempotent() -> None:
    loop, seen = Loop(), []
    read, write = os.pipe()
    loop.watch(write, WRITE, lambda _: seen.append("old"))

    def new(_: int) -> None:
        seen.append("new")
        loop.forget(write)
        loop.forget(write)

    loop.watch(write, WRITE, new)
    loop.later(0.02, loop.stop)
    loop.run()
    assert seen == ["new"]
    os.close(read)


def test_one_that_was_forgotten_in_the_same_round_is_not_called() -> None:
    loop, seen = Loop(), []
    pipes = [os.pipe() for _ in range(2)]

    def first(_: int) -> None:
        seen.append(1)
        for read, _write in pipes:
            loop.forget(read)

    for read, write in pipes:
        os.write(write, b"x")
        loop.watch(read, READ, first)
    loop.later(0.02, loop.stop)
    loop.run()
    assert seen == [1]


def test_one_that_takes_over_the_number_of_another_does_not_get_its_news() -> None:
    """Of two that are ready in one round, the first closes the other and opens one of its own."""
    loop, seen = Loop(), []
    pipes = [os.pipe() for _ in range(2)]

    def ready(fd: int, _: int) -> None:
        [other] = [read for read, _ in pipes if read != fd]
        loop.forget(fd)
        loop.forget(other)
        os.close(other)
        fresh, _ = os.pipe()  # the lowest number that is free
        assert fresh == other
        loop.watch(fresh, READ, lambda _: seen.append("of another"))
        seen.append("first")

    for read, write in pipes:
        os.write(write, b"x")
        loop.watch(read, READ, partial(ready, read))
    loop.later(0.02, loop.stop)
    loop.run()
    assert seen == ["first"]
