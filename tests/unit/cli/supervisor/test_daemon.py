"""Whatever is killed is back at once: a service, supervisord, the guard. And `down` ends all of it."""

import os
import signal
import time

from cribus.cli import down
from cribus.cli.supervisor import daemon

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
    os.kill(before, signal.SIGKILL)
    until(lambda: supervised.supervisord() not in (0, before), 5, "supervisord is back")
    second = supervised.all_run()
    assert not set(first.values()) & set(second.values())
    for pid in first.values():
        assert daemon.wait_for(pid, 5)


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


def test_a_second_guard_ends_at_once(supervised: Supervised) -> None:
    supervised.guard()
    assert supervised.guard().wait(5) == 0


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


def test_retries_are_prompt_and_then_slow() -> None:
    assert daemon.retry_at(0, 0.0, 100.0) == 0.0
    assert daemon.retry_at(0, 130.0, 100.0) == 130.0  # the end of a stop, not a retry
    assert daemon.retry_at(daemon.PROMPT_RETRIES, 105.0, 100.0) == 0.0
    assert daemon.retry_at(daemon.PROMPT_RETRIES + 1, 106.0, 100.0) == 105.0
    assert daemon.retry_at(7, 102.0, 100.0) == 102.0
