"""A rig for each test, and a loop that a test can run until something is true."""

import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.append(str(HERE))

from cribus.shim import keepers  # noqa: E402
from cribus.shim.keepers import Keeper, Locker  # noqa: E402
from cribus.shim.loop import Loop  # noqa: E402

from tests.unit.shim.rig import Rig  # noqa: E402


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    one = Rig(tmp_path)
    try:
        yield one
    finally:
        one.close()


class Turning:
    """A loop that runs until a condition holds."""

    def __init__(self) -> None:
        self.loop = Loop()

    def until(self, check: Callable[[], object], seconds: float = 10) -> None:
        end = time.monotonic() + seconds

        def look() -> None:
            if check():
                self.loop.stop()
            else:
                assert time.monotonic() < end, "not within its time"
                self.loop.later(0.005, look)

        look_first = self.loop.soon(look)
        self.loop.run()
        look_first.cancel()


@pytest.fixture
def turning() -> Turning:
    return Turning()


def absent_locker() -> Locker:
    """Of a new session, in a keeper that has gone."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.close()
    keeper = Keeper(ours)
    keeper.close()
    return keepers.locker(keeper, b"{}")
