"""A keeper in place of one that was killed: a fork of the shim, which has copies of all descriptors.

It is not the shim's child for long: the one in between ends at once, so it belongs to whoever reaps the
shims, and outlives ours. When shim and keeper were killed at the same time, the next shim finds what is
left of the container itself (`rescued`): it opens the other ends of its streams again.
"""

import contextlib
import os
import select
import signal
import socket
import stat
import time

import msgspec

from cribus import keeper
from cribus.api.shim import Take
from cribus.linux import fds as descriptors
from cribus.linux import inotify, process
from cribus.shim import written
from cribus.steps import Step, kept

ORPHAN = "orphan"  # what a keeper holds under this name says that it is not init's parent
RESCUED = "rescued"  # and this, that all that was held before was lost
_PATIENCE = 5.0  # seconds until it listens
_LISTENS = Step("shim.stand-in.listens")


class _State(msgspec.Struct):
    """What is needed of the executor's state.json."""

    pid: int = 0
    started: int = 0


def start(folder: str, hold: dict[str, int]) -> socket.socket:
    """Start one that holds these, serving in the container's run directory: a connection to it. Raises OSError."""
    run = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with contextlib.suppress(FileExistsError):
        os.mkfifo(f"{folder}/{keeper.ALIVE}", 0o600)
    alive = os.open(f"{folder}/{keeper.ALIVE}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    listens, ready = os.pipe2(os.O_CLOEXEC)
    try:
        between = os.fork()
        if between == 0:
            _be(folder, (run, ready), {**hold, ORPHAN: alive})
        os.waitpid(between, 0)
        os.close(ready)
        ready = -1
        if not select.select([listens], [], [], _PATIENCE)[0] or not os.read(listens, 1):
            raise OSError(110, "a new keeper did not come up")
        _LISTENS.passed()
        return descriptors.connect_at(run, keeper.SOCKET, _PATIENCE)
    finally:
        for fd in (run, alive, listens, *([ready] if ready >= 0 else [])):
            os.close(fd)


def _be(folder: str, ends: tuple[int, int], hold: dict[str, int]) -> None:
    """In the child: be it. Never returns."""
    try:
        if os.fork():
            os._exit(0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        descriptors.close_all_but([0, 1, 2, *ends, *hold.values(), *kept])
        os.dup(hold[ORPHAN])  # open to the very end
        process.set_name("keeper")
        process.set_title(f"keeper: {folder}")
        keeper.stand_in(*ends, hold)
    finally:
        os._exit(0)


def come(folder: str) -> bool:
    """Wait for a keeper that an earlier shim was just starting when it was killed: whether there is one."""
    with contextlib.suppress(FileExistsError):
        os.mkfifo(f"{folder}/{keeper.ALIVE}", 0o600)
    fds = [os.open(f"{folder}/{keeper.ALIVE}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), inotify.init()]
    try:
        inotify.add_watch(fds[1], folder, inotify.IN_MOVED_TO)
        end = time.monotonic() + _PATIENCE
        while (left := end - time.monotonic()) > 0 and _has_writer(fds[0]):
            if _listens(folder):
                return True
            if fds[1] in select.select(fds, [], [], left)[0]:
                inotify.read(fds[1])
        return False
    finally:
        for fd in fds:
            os.close(fd)


def _has_writer(fifo: int) -> bool:
    try:
        os.read(fifo, 1)
    except BlockingIOError:
        return True
    return False


def _listens(folder: str) -> bool:
    run = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptors.connect_at(run, keeper.SOCKET, _PATIENCE).close()
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    finally:
        os.close(run)
    return True


def rescued(folder: str, take: Take) -> dict[str, int]:
    """What can be had again of a container whose keeper and shim have gone: a pidfd, and new ends of its pipes.

    Empty when it does not run. What was in the shim's stages is lost, and a terminal has hung up.
    """
    known = written.read(f"{folder}/state.json", _State) or _State()
    try:
        pidfd = process.pidfd_open(known.pid) if known.pid else -1
    except ProcessLookupError:
        return {}
    if pidfd < 0 or not process.is_running(known.pid, known.started):
        if pidfd >= 0:
            os.close(pidfd)
        return {}
    found = {"pidfd": pidfd}
    for name in ("sync", RESCUED):
        found[name] = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    modes = {"stdout": (1, os.O_RDONLY), "stderr": (2, os.O_RDONLY)}
    if take.stdin:
        modes["stdin"] = (0, os.O_WRONLY)
    for name, (number, mode) in modes.items():
        fd = _other_end(known.pid, number, mode)
        if fd >= 0:
            found[name] = fd
    return found


def _other_end(pid: int, number: int, mode: int) -> int:
    """Of a pipe that is a process's descriptor `number`; -1 for anything else, which is not opened."""
    try:
        path = os.open(f"/proc/{pid}/fd/{number}", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        if not stat.S_ISFIFO(os.fstat(path).st_mode):
            return -1
        return os.open(f"/proc/self/fd/{path}", mode | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # nobody has the other side open
        return -1
    finally:
        os.close(path)
