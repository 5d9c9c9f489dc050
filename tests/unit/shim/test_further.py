"""One process with an executor that is a function here; with the real bus it is in test_exec."""

import os
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cribus.api.executor import Exec, Execed
from cribus.errors import Aborted, CribusError, FailedPrecondition
from cribus.shim.door import Door
from cribus.shim.further import Kind, Process, Yard

from tests.unit.shim.conftest import Turning

Done = Callable[[Execed | None, CribusError | None], None]


class Owner:
    def __init__(self) -> None:
        self.out: dict[int, bytes] = {1: b"", 2: b""}
        self.code = -1
        self.error: CribusError | None = None
        self.begun = False

    def started(self) -> None:
        self.begun = True

    def readable(self, channel: int) -> bool:
        return True

    def output(self, channel: int, data: bytes) -> None:
        self.out[channel] += data

    def ended(self, code: int) -> None:
        self.code = code

    def failed(self, error: CribusError) -> None:
        self.error = error


@pytest.fixture
def yard(turning: Turning, tmp_path: Path) -> Iterator[Callable[[Callable[[Exec, Done], None]], Yard]]:
    door = Door(turning.loop, os.open(tmp_path, os.O_RDONLY), "p")
    yield lambda fork: Yard(turning.loop, "p", door, fork)
    door.close()


Make = Callable[[Callable[[Exec, Done], None]], Yard]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_no_process_leaves_no_descriptor(yard: Make, turning: Turning) -> None:
    place = yard(lambda wanted, done: done(None, FailedPrecondition("no")))
    before = descriptors()
    for tty in (False, True):
        owner = Owner()
        Process(place, Kind(tty=tty, stdin=True), owner).start("c", ["x"])
        assert owner.error
    assert descriptors() == before
    assert place.door.execs == {}


@pytest.mark.parametrize("first", ["answer", "exit"])
def test_the_exit_may_come_before_the_answer(yard: Make, turning: Turning, first: str) -> None:
    answers: list[Done] = []
    place = yard(lambda wanted, done: answers.append(done))
    before = descriptors()
    owner = Owner()
    Process(place, Kind(), owner).start("c", ["x"])
    (waiting,) = place.door.execs.values()
    _, stdout, _, exit_fd = (os.dup(fd) for fd in waiting.outer())
    if first == "answer":
        answers[0](Execed(pid=1), None)
    os.write(stdout, b"last words")
    os.write(exit_fd, (7 << 8).to_bytes(4, "little"))
    turning.loop.later(0.05, lambda: answers[0](Execed(pid=1), None) if first == "exit" else None)
    turning.until(lambda: owner.code >= 0)
    assert (owner.code, owner.out[1], owner.begun) == (7, b"last words", True)
    assert descriptors() == before + 4  # ours of this test


def test_the_answer_may_come_before_the_process_is_introduced(yard: Make, turning: Turning) -> None:
    place = yard(lambda wanted, done: done(Execed(pid=1), None))
    owner = Owner()
    Process(place, Kind(), owner).start("c", ["x"])
    (id,) = place.door.execs
    child = os.fork()
    if child == 0:
        select.select([], [], [], 30)
        os._exit(0)
    pidfd = os.pidfd_open(child)
    place.door._forked({"exec": id, "pid": child}, pidfd)
    # nothing kills it: its exec is known until it was introduced, and its end is seen
    assert os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG) is None
    assert place.door.execs == {}
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
    turning.until(lambda: owner.code >= 0)
    assert owner.code == 128 + signal.SIGTERM


def test_a_fork_server_that_died_leaves_the_kernel_to_tell(yard: Make, turning: Turning) -> None:
    answers: list[Done] = []
    place = yard(lambda wanted, done: answers.append(done))
    owner = Owner()
    one = Process(place, Kind(), owner)
    one.start("c", ["x"])
    pid = os.posix_spawnp("sh", ["sh", "-c", "exit 6"], os.environ)
    one.forked(pid, os.pidfd_open(pid))
    answers[0](Execed(pid=pid), None)

    def reap() -> None:
        os.waitpid(pid, 0)

    turning.loop.later(0.05, reap)
    turning.until(lambda: owner.code >= 0)
    assert owner.code == 6


def test_what_a_dead_executor_had_forked_is_ended(yard: Make, turning: Turning) -> None:
    answers: list[Done] = []
    place = yard(lambda wanted, done: answers.append(done))
    before = descriptors()
    owner = Owner()
    one = Process(place, Kind(), owner)
    one.start("c", ["x"])
    pid = os.posix_spawnp("sleep", ["sleep", "100"], os.environ, setsid=True)
    one.forked(pid, os.pidfd_open(pid))
    answers[0](None, Aborted("the executor died"))
    assert owner.error
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    assert descriptors() == before


def test_one_that_was_left_may_go_on(yard: Make, turning: Turning) -> None:
    answers: list[Done] = []
    place = yard(lambda wanted, done: answers.append(done))
    before = descriptors()
    one = Process(place, Kind(), Owner())
    one.start("c", ["x"])
    (waiting,) = place.door.execs.values()
    exit_fd = os.dup(waiting.outer()[-1])
    answers[0](Execed(pid=1), None)
    one.close()
    poll = select.poll()
    poll.register(exit_fd, 0)
    assert poll.poll(0) == []  # its exit has a reader: the fork server lets it live
    os.write(exit_fd, bytes(4))
    os.close(exit_fd)
    turning.until(lambda: descriptors() == before)
