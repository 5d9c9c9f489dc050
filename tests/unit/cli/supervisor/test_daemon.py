"""Whatever is killed is back at once: a service, supervisord, the guard. And `down` ends all of it."""

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cribus.cli import down
from cribus.cli.supervisor import control, daemon
from cribus.linux import process
from cribus.pulse import Page

from tests.harness import until
from tests.unit.cli.supervisor.conftest import Supervised

TOO_LONG = 0.3  # seconds


def _killed(node: Supervised, name: str) -> float:
    """Seconds from SIGKILL to its successor."""
    before = node.all_run()[name]
    began = time.monotonic()
    os.kill(before, signal.SIGKILL)
    until(lambda: node.pids()[name] not in (0, before), 5, f"{name} is back")
    return time.monotonic() - began


def test_a_killed_service_is_back_at_once(supervised: Supervised) -> None:
    supervised.guard()
    other = supervised.all_run()["b"]
    assert max(_killed(supervised, "a") for _ in range(3)) < TOO_LONG
    assert supervised.pids()["b"] == other


def test_a_killed_supervisord_is_back_with_new_services(supervised: Supervised) -> None:
    supervised.guard()
    before, first = supervised.supervisord(), supervised.all_run()
    services = [os.pidfd_open(pid) for pid in first.values()]  # their numbers may soon be others'
    os.kill(before, signal.SIGKILL)
    until(lambda: supervised.supervisord() not in (0, before), 5, "supervisord is back")
    second = supervised.all_run()
    assert not set(first.values()) & set(second.values())
    for pidfd in services:
        assert select.select([pidfd], [], [], 5)[0]
        os.close(pidfd)


def test_a_killed_guard_is_replaced_and_nothing_restarts(supervised: Supervised) -> None:
    guard = supervised.guard()
    before, services = supervised.supervisord(), supervised.all_run()
    guard.kill()
    guard.wait()
    supervised.guard()
    assert supervised.supervisord() == before
    assert supervised.all_run() == services
    os.kill(before, signal.SIGKILL)
    until(lambda: supervised.supervisord() not in (0, before), 5, "the new guard starts it again")


def test_a_stopped_service_is_replaced(supervised: Supervised) -> None:
    supervised.guard()
    before = supervised.all_run()
    os.kill(before["a"], signal.SIGSTOP)
    until(lambda: supervised.pids()["a"] not in (0, before["a"]), 10, "a is back")
    [a, b] = control.programs(supervised.settings)
    assert (a.hangs, b.hangs, b.pid) == (1, 0, before["b"])
    assert "stopped by a signal" in a.hung


def test_a_stopped_supervisord_is_replaced_and_its_services_with_it(supervised: Supervised) -> None:
    supervised.guard()
    before, first = supervised.supervisord(), supervised.all_run()
    os.kill(before, signal.SIGSTOP)
    until(lambda: supervised.supervisord() not in (0, before), 10, "supervisord is back")
    assert not set(first.values()) & set(supervised.all_run().values())
    assert [one[:2] for one in control.hangs(supervised.settings)] == [("supervisord", 1)]


def test_a_stopped_guard_is_replaced_and_nothing_restarts(supervised: Supervised) -> None:
    guard = supervised.guard()
    before, services = supervised.supervisord(), supervised.all_run()
    first = Page(supervised.settings.run).generation("guard")
    os.kill(guard.pid, signal.SIGSTOP)
    assert guard.wait(10) == -signal.SIGKILL
    until(lambda: Page(supervised.settings.run).generation("guard") > first, 10, "another guard")
    assert (supervised.supervisord(), supervised.all_run()) == (before, services)
    os.kill(before, signal.SIGKILL)
    until(lambda: supervised.supervisord() not in (0, before), 5, "the new guard starts it again")
    supervised.all_run()


def test_a_second_guard_ends_at_once(supervised: Supervised) -> None:
    supervised.guard()
    assert supervised.guard().wait(5) == 0


def _waits(guard: subprocess.Popen[bytes]) -> None:
    """Until it waits for the lock of another: proc_locks(5) marks such a line with `->`."""
    until(lambda: f" {guard.pid} " in "".join(_waiting()), 5, "it waits for its place")


def _waiting() -> list[str]:
    return [line for line in Path("/proc/locks").read_text().splitlines() if "->" in line]


def test_the_guard_of_a_service_manager_stands_by(supervised: Supervised) -> None:
    """Had it ended, the service manager would have taken the node for ended, and its pods' services down."""
    first = supervised.guard()
    before, services = supervised.supervisord(), supervised.all_run()
    second = supervised.guard("--stay")
    _waits(second)
    first.kill()
    first.wait()
    os.kill(before, signal.SIGKILL)
    until(lambda: supervised.supervisord() not in (0, before), 5, "the second guard starts it again")
    assert not set(services.values()) & set(supervised.all_run().values())
    second.terminate()
    assert second.wait(10) == 0
    assert not supervised.supervisord()


def test_who_stands_by_ends_the_node_when_told(supervised: Supervised) -> None:
    first = supervised.guard()
    supervised.all_run()
    second = supervised.guard("--stay")
    _waits(second)
    second.terminate()
    assert second.wait(10) == 0
    assert first.wait(10) == 0
    assert not supervised.supervisord()


def test_down_is_not_undone_by_who_stands_by(supervised: Supervised) -> None:
    supervised.guard()
    supervised.all_run()
    second = supervised.guard("--stay")
    _waits(second)
    down.stop(supervised.settings)
    assert second.wait(10) == 0
    assert not supervised.supervisord()


def test_down_ends_supervisord_and_guard(supervised: Supervised) -> None:
    guard = supervised.guard()
    pids = supervised.all_run()
    down.stop(supervised.settings)
    assert guard.wait(5) == 0
    assert supervised.supervisord() == 0
    assert all(daemon.wait_for(pid, 1) for pid in pids.values())


def test_sigterm_to_the_guard_is_down(supervised: Supervised) -> None:
    guard = supervised.guard()
    supervised.all_run()
    guard.terminate()
    assert guard.wait(10) == 0
    assert supervised.supervisord() == 0


def test_a_child_obeys_before_it_executes() -> None:
    kept = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        pid = daemon.mortal_fork()
        if pid == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, kept)


def test_a_child_does_not_outlive_a_parent_that_is_killed_just_then(monkeypatch: pytest.MonkeyPatch) -> None:
    bind = process.pdeathsig

    def late(number: int) -> None:
        parent = os.getppid()
        os.kill(parent, signal.SIGKILL)
        until(lambda: os.getppid() != parent, 5, "the parent is gone")
        bind(number)

    read, write = os.pipe()
    middle = os.fork()
    if middle == 0:
        monkeypatch.setattr(process, "pdeathsig", late)
        if daemon.mortal_fork() == 0:
            os.write(write, b"lives")
            os._exit(0)
        signal.pause()
    os.close(write)
    os.waitpid(middle, 0)
    try:
        assert os.read(read, 10) == b""
    finally:
        os.close(read)


def test_retries_are_prompt_and_then_slow() -> None:
    assert daemon.retry_at(0, 0.0, 100.0) == 0.0
    assert daemon.retry_at(0, 130.0, 100.0) == 130.0  # the end of a stop, not a retry
    assert daemon.retry_at(daemon.PROMPT_RETRIES, 105.0, 100.0) == 0.0
    assert daemon.retry_at(daemon.PROMPT_RETRIES + 1, 106.0, 100.0) == 100.1
    assert daemon.retry_at(daemon.PROMPT_RETRIES + 3, 108.0, 100.0) == 100.4
    assert daemon.retry_at(1000, 1100.0, 100.0) == 105.0
    assert daemon.retry_at(30, 102.0, 100.0) == 102.0


def test_a_folder_that_is_emptied_is_made_again(supervised: Supervised) -> None:
    guard = supervised.guard()
    before, services, text = supervised.supervisord(), supervised.all_run(), supervised.conf.read_text()
    shutil.rmtree(supervised.folder)
    assert daemon.running(str(supervised.folder)) == before, "nobody may start a second one"
    until(lambda: supervised.conf.exists() and control.answers(supervised.settings), 20, "supervisord answers again")
    assert supervised.supervisord() not in (0, before)
    assert not set(services.values()) & set(supervised.all_run().values())
    assert supervised.conf.read_text() == text
    assert guard.poll() is None
    assert daemon.guarded(str(supervised.folder))


def test_a_socket_alone_that_is_lost(supervised: Supervised) -> None:
    supervised.guard()
    before = supervised.supervisord()
    (supervised.folder / "control.sock").unlink()
    until(lambda: control.answers(supervised.settings), 20, "supervisord answers again")
    assert supervised.supervisord() not in (0, before)


def test_who_comes_after_the_folder_was_emptied_is_the_guard(supervised: Supervised) -> None:
    """`cribus up` just then: one of the two gives way, and there is one supervisord."""
    first = supervised.guard()
    before, text = supervised.supervisord(), supervised.conf.read_text()
    first.send_signal(signal.SIGSTOP)
    shutil.rmtree(supervised.folder)
    supervised.folder.mkdir()
    supervised.conf.write_text(text)
    argv = [sys.executable, "-m", "cribus.cli.supervisor.daemon", str(supervised.conf)]
    second = subprocess.Popen(argv, cwd="/")
    supervised.guards.append(second)
    until(lambda: daemon.guarded(str(supervised.folder)), 10, "it has the lock")
    first.send_signal(signal.SIGCONT)
    assert first.wait(20) == 0
    until(lambda: control.answers(supervised.settings), 30, "supervisord answers again")
    assert supervised.supervisord() not in (0, before)
    assert second.poll() is None
