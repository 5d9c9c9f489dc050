"""A test leaves nothing in the process that the next one runs in: what it does not take back fails it."""

import gc
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

_GRACE = 5.0  # seconds for a thread that is about to end
_OF_THEIR_PROCESS = (  # threads that live as long as it
    "network_",  # manager/podnet.py
    "_poll_wrapper",  # grpc.aio
)
_POLLED = ("anon_inode:[eventpoll]", "anon_inode:[eventfd]", "socket:")  # descriptors of grpc.aio
_ELSEWHERE = (signal.SIGALRM,)  # pytest-timeout's

# Started in the background by a shell we would ignore it, and asyncio would put its own handler in that place.
signal.signal(signal.SIGINT, signal.default_int_handler)


class State(NamedTuple):
    """What tests share, each as a sentence."""

    threads: frozenset[str]
    children: frozenset[str]
    signals: frozenset[str]
    environment: frozenset[str]
    place: frozenset[str]
    descriptors: frozenset[str]


def state() -> State:
    return State(_threads(), _children(), _signals(), _environment(), _place(), _descriptors())


def _kept(thread: threading.Thread) -> bool:
    return not any(name in thread.name for name in _OF_THEIR_PROCESS)


def _threads() -> frozenset[str]:
    return frozenset(f"thread {one.name} {one.ident}" for one in threading.enumerate() if _kept(one))


def _children() -> frozenset[str]:
    found = set()
    for task in os.listdir("/proc/self/task"):
        try:
            found.update(Path(f"/proc/self/task/{task}/children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):  # that thread has just ended
            continue
    return frozenset(f"child {pid}" for pid in found)


def _signals() -> frozenset[str]:
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals() if number not in _ELSEWHERE}
    found = {f"{number!r} goes to {handler}" for number, handler in handlers.items()}
    return frozenset(found | {f"{number!r} is blocked" for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])})


def _environment() -> frozenset[str]:
    return frozenset(f"{name}={value}" for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST")


def _place() -> frozenset[str]:
    mask = os.umask(0o22)
    os.umask(mask)
    return frozenset({f"umask {mask:o}", f"in {os.getcwd()}"})


def _descriptors() -> frozenset[str]:
    found = set()
    polled = any("_poll_wrapper" in one.name for one in threading.enumerate())
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:  # that of the listing
            continue
        if not (polled and target.startswith(_POLLED)):
            found.add(f"descriptor {fd} of {target}")
    return frozenset(found)


def changes(before: State, after: State) -> list[str]:
    """What is different, in words. That fewer threads, children or descriptors are there is none of this test's."""
    found = [one for mine, theirs in zip(before, after, strict=True) for one in theirs - mine]
    for mine, theirs in (
        (before.signals, after.signals),
        (before.environment, after.environment),
        (before.place, after.place),
    ):
        found += [f"no more: {one}" for one in mine - theirs]
    return sorted(found)


def settled(before: State) -> State:
    """What is there when what was about to go has gone."""
    for one in threading.enumerate():
        if _kept(one) and f"thread {one.name} {one.ident}" not in before.threads:
            one.join(_GRACE)
    gc.collect()
    return state()


@pytest.fixture
def kernel_closes() -> bool:
    """Whether what a test leaves open is closed for it: where it stands for a process that is killed, or whose
    descriptors go with it, as the kernel does then."""
    return False


@pytest.fixture(autouse=True)
def _nothing_stays(request: pytest.FixtureRequest, kernel_closes: bool) -> Iterator[None]:
    before = state()
    yield
    after = state()
    if not changes(before, after):
        return
    request.node.funcargs.clear()  # what other fixtures made is needed no more
    after = settled(before)
    if kernel_closes:
        for one in after.descriptors - before.descriptors:
            os.close(int(one.split()[1]))
        after = after._replace(descriptors=before.descriptors)
    left = changes(before, after)
    assert not left, f"the test leaves behind: {'; '.join(left)}"
