"""A thread in another network namespace."""

import os
import subprocess
import threading
from collections.abc import Iterator

import pytest
from cribus.linux.netns import within

NAME = "crbtnetns"


@pytest.fixture
def netns() -> Iterator[int]:
    if os.geteuid():
        pytest.skip("network namespaces need root")
    subprocess.run(["ip", "netns", "add", NAME], check=True)
    fd = os.open(f"/run/netns/{NAME}", os.O_RDONLY)
    yield fd
    os.close(fd)
    subprocess.run(["ip", "netns", "del", NAME], check=True)


def _where() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


def test_a_thread_that_enters_is_not_ours(netns: int) -> None:
    ours = _where()
    assert within(netns, _where) == os.fstat(netns).st_ino != ours
    assert within(netns, lambda: threading.current_thread().name) == "netns"
    with pytest.raises(ZeroDivisionError):
        within(netns, lambda: 1 // 0)
    assert _where() == ours


def test_a_process_that_has_ended(netns: int) -> None:
    child = subprocess.Popen(["true"])
    pidfd = os.pidfd_open(child.pid)
    child.wait()
    with pytest.raises(ProcessLookupError):
        within(pidfd, _where)
    os.close(pidfd)
