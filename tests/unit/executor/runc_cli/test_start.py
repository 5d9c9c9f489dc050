import os

import pytest
from cribus.errors import FailedPrecondition, NotFound
from cribus.executor.child import failure
from cribus.executor.runc_cli import start

from tests.unit.executor.runc_cli.conftest import Make


def test_only_what_waits_is_started(make: Make) -> None:
    with pytest.raises(FailedPrecondition, match="that is creating"):
        start.start(make())


@pytest.mark.parametrize("said", [b"", failure.line("error", "NOT_FOUND no such program")])
def test_init_is_let_go_and_heard(make: Make, said: bytes) -> None:
    box = make(pid=os.getpid())
    pid = os.fork()
    if pid == 0:  # init
        fifo = os.open(f"{box.path}/start", os.O_RDWR)
        sync = os.open(f"{box.path}/sync", os.O_RDWR)
        os.kill(os.getppid(), 0)
        assert os.read(fifo, 1) == b"s"
        os.write(sync, said)
        os._exit(0)
    while box.status() != "created":  # it opens the fifo
        os.sched_yield()
    if said:
        with pytest.raises(NotFound, match="no such program"):
            start.start(box)
    else:
        start.start(box)
    os.waitpid(pid, 0)
