"""A rig for each test, and a loop that a test can run until something is true."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.append(str(HERE))

from cribus.shim import keepers  # noqa: E402
from cribus.shim.keepers import Keeper, Locker  # noqa: E402

from tests.turning import Turning  # noqa: E402
from tests.unit.shim.rig import Rig  # noqa: E402


@pytest.fixture
def kernel_closes() -> bool:
    """Shims are killed here, at any instruction."""
    return True


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    one = Rig(tmp_path)
    try:
        yield one
    finally:
        one.close()


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
