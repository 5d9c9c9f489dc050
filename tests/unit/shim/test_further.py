"""One process with an executor that is a function here; with the real bus it is in test_exec."""

import contextlib
import gc
import os
import select
import signal
import socket
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cribus.api.executor import Exec, Execed
from cribus.errors import Aborted, CribusError, FailedPrecondition
from cribus.linux import fds as descriptors_of
from cribus.linux import process
from cribus.shim.door import Door
from cribus.shim.ends import Kind
from cribus.shim.further import Process, Yard
from cribus.shim.pump import Tools

from tests.turning import Turning
from tests.unit.shim.conftest import absent_locker

Done = Callable[[Execed | None, CribusError | None], None]


class Owner:
    def __init__(self) -> None:
        self.locker = absent_locker()
        self.code = -1
        self.error: CribusError | None = None
        self.begun = False
        self.slow = False

    def started(self) -> None:
        self.begun = True

    def readable(self, channel: int) -> int:
        return 0 if self.slow else 65536

    def output(self, channel: int) -> None:
        """It is kept."""

    def out(self, channel: int) -> bytes:
        return os.pread(self.locker.fds[f"kept-{channel}"], 1 << 20, 0)

    def process(self, yard: Yard, *, tty: bool = False, stdin: bool = False) -> Process:
        return Process(yard, Kind(tty=tty, stdin=stdin), self.locker, self)

    def ended(self, code: int) -> None:
        self.code = code

    def failed(self, error: CribusError) -> None:
        self.error = error


@pytest.fixture
def yard(turning: Turning, tmp_path: Path) -> Iterator[Callable[[Callable[[Exec, bool, Done], None]], Yard]]:
    door = Door(turning.loop, os.open(tmp_path, os.O_RDONLY), "p")
    yield lambda fork: Yard(turning.loop, door, Tools(), fork)
    door.close()


Make = Callable[[Callable[[Exec, bool, Done], None]], Yard]


def descriptors() -> int:
    gc.collect()  # what tests before this one have left
    return len(os.listdir("/proc/self/fd"))


def test_no_process_leaves_no_descriptor(yard: Make, turning: Turning) -> None:
    place = yard(lambda wanted, again, done: done(None, FailedPrecondition("no")))
    before = descriptors()
    for terminal in (False, True):
        owner = Owner()
        owner.process(place, tty=terminal, stdin=True).start("c", ["x"])
        assert owner.error
        owner.locker.close_all()
    assert descriptors() == before
    assert place.door.execs == {}


@pytest.mark.parametrize("first", ["answer", "exit"])
def test_the_exit_may_come_before_the_answer(yard: Make, turning: Turning, first: str) -> None:
    answers: list[Done] = []
    place = yard(lambda wanted, again, done: answers.append(done))
    before = descriptors()
    owner = Owner()
    owner.process(place).start("c", ["x"])
    (waiting,) = place.door.execs.values()
    _, stdout, _, exit_fd = (os.dup(fd) for fd in waiting.outer())
    if first == "answer":
        answers[0](Execed(pid=1), None)
    os.write(stdout, b"last words")
    os.write(exit_fd, (7 << 8).to_bytes(4, "little"))
    turning.loop.later(0.05, lambda: answers[0](Execed(pid=1), None) if first == "exit" else None)
    turning.until(lambda: owner.code >= 0)
    assert (owner.code, owner.out(1), owner.begun) == (7, b"last words", True)
    owner.locker.close_all()
    assert descriptors() == before + 4  # ours of this test


def test_the_answer_may_come_before_the_process_is_introduced(yard: Make, turning: Turning) -> None:
    child = os.fork()
    if child == 0:
        select.select([], [], [], 30)
        os._exit(0)
    made = Execed(pid=child, started=process.start_time(child))
    place = yard(lambda wanted, again, done: done(made, None))
    owner = Owner()
    owner.process(place).start("c", ["x"])
    (id,) = place.door.execs
    pidfd = os.pidfd_open(child)
    place.door._forked({"exec": id, "pid": child}, pidfd)
    # nothing kills it: its exec is known until it was introduced, and its end is seen
    assert os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG) is None
    assert place.door.execs == {}
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    turning.until(lambda: owner.code >= 0)
    assert owner.code == 128 + signal.SIGKILL


def test_a_fork_server_that_died_leaves_the_kernel_to_tell(yard: Make, turning: Turning) -> None:
    answers: list[Done] = []
    place = yard(lambda wanted, again, done: answers.append(done))
    owner = Owner()
    one = owner.process(place)
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
    place = yard(lambda wanted, again, done: answers.append(done))
    before = descriptors()
    owner = Owner()
    one = owner.process(place)
    one.start("c", ["x"])
    one.outer()
    pid = os.posix_spawnp("sleep", ["sleep", "100"], os.environ, setsid=True)
    one.forked(pid, os.pidfd_open(pid))
    answers[0](None, Aborted("the executor died"))
    assert owner.error
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    owner.locker.close_all()
    assert descriptors() == before


def test_one_that_was_left_may_go_on(yard: Make, turning: Turning) -> None:
    answers: list[Done] = []
    place = yard(lambda wanted, again, done: answers.append(done))
    before = descriptors()
    owner = Owner()
    locker = owner.locker
    one = owner.process(place)
    one.start("c", ["x"])
    (waiting,) = place.door.execs.values()
    exit_fd = os.dup(waiting.outer()[-1])
    answers[0](Execed(pid=1), None)
    one.leave(lambda: locker.close_all())
    poll = select.poll()
    poll.register(exit_fd, 0)
    assert poll.poll(0) == []  # its exit has a reader: the fork server lets it live
    os.write(exit_fd, bytes(4))
    os.close(exit_fd)
    turning.until(lambda: descriptors() == before)


@pytest.mark.parametrize("lost", [1, 3])
def test_a_request_that_reached_no_executor_is_made_anew(yard: Make, turning: Turning, lost: int) -> None:
    asked: list[Exec] = []
    answers: list[Done] = []

    def fork(wanted: Exec, again: bool, done: Done) -> None:
        assert not again
        asked.append(wanted)
        answers.append(done)

    place = yard(fork)
    owner = Owner()
    owner.process(place).start("c", ["x"])
    for k in range(lost):
        assert set(place.door.execs) == {asked[k].exec_id}, "a late executor gets nothing under an earlier id"
        answers[k](None, Aborted("the process that ran exec died; it may or may not have happened"))
    assert len({one.exec_id for one in asked}) == len(asked) == min(lost + 1, 3)
    assert (owner.error is None) == (lost < 3)
    owner.locker.close_all()


def test_one_whose_descriptors_were_fetched_is_not_made_twice(yard: Make, turning: Turning) -> None:
    answers: list[Done] = []
    place = yard(lambda wanted, again, done: answers.append(done))
    owner = Owner()
    owner.process(place).start("c", ["x"])
    (waiting,) = place.door.execs.values()
    waiting.outer()
    answers[0](None, Aborted("the process that ran exec died; it may or may not have happened"))
    assert len(answers) == 1
    assert isinstance(owner.error, Aborted)
    owner.locker.close_all()


@pytest.mark.parametrize("held", [False, True], ids=["all-gone", "held-by-another"])
def test_all_that_a_terminal_holds_is_read_after_the_exit(yard: Make, turning: Turning, held: bool) -> None:
    """Its reader was slow: the terminal is as full as one can be, and the kernel counts a part of it only."""
    answers: list[Done] = []
    place = yard(lambda wanted, again, done: answers.append(done))
    owner = Owner()
    owner.slow = True
    one = owner.process(place, tty=True)
    one.start("c", ["x"])
    link, *_, exit_fd = (os.dup(fd) for fd in one.outer())
    master, slave = os.openpty()
    tty.setraw(slave)
    with socket.socket(fileno=link) as there:
        descriptors_of.send(there, b"terminal", [master])
    answers[0](Execed(pid=1), None)
    os.set_blocking(slave, False)
    said = b"".join(b"%09d\n" % k for k in range(20_000))
    written = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            written += os.write(slave, said[written : written + 500])
    assert 4096 < written < len(said)
    if not held:
        os.close(slave)
    os.write(exit_fd, bytes(4))

    def quick() -> None:
        owner.slow = False
        one.go(1)

    turning.loop.later(0.3, quick)
    turning.until(lambda: owner.code >= 0)
    assert owner.out(1) == said[:written]
    if held:
        os.close(slave)


def test_what_a_killed_shim_had_taken_off_a_terminal_comes_though_nothing_follows(yard: Make, turning: Turning) -> None:
    answers: list[Done] = []
    place = yard(lambda wanted, again, done: answers.append(done))
    owner = Owner()
    one = owner.process(place, tty=True)
    one.start("c", ["x"])
    link, *_ = (os.dup(fd) for fd in one.outer())
    master, slave = os.openpty()
    with socket.socket(fileno=link) as there:
        descriptors_of.send(there, b"terminal", [master])
    os.write(owner.locker.fds["stage-1"], b"already here")
    answers[0](Execed(pid=1), None)
    turning.until(lambda: owner.out(1) == b"already here")
    one.close()
    os.close(slave)
    owner.locker.close_all()
