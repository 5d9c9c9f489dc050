"""Children of the command line: how they are born, how they are heard, how they are waited for."""

import contextlib
import os
import select
import signal
import socket
import time
from typing import Any

from cribus import errors
from cribus.executor.child import failure
from cribus.linux import fds as descriptors
from cribus.linux import files, namespaces, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_DEADLINE = 60.0  # seconds
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def fork(
    main: "Callable[[dict[str, Any], list[int]], int]", what: tuple[dict[str, Any], list[int]], birth: tuple[int, str]
) -> int:
    """Its pid. `what` are its request and descriptors, `birth` clone3's flags and the PID namespace, or ""."""
    flags, pidns = birth
    if pidns:
        fd = os.open(pidns, os.O_RDONLY | os.O_CLOEXEC)
        namespaces.setns(fd, namespaces.CLONE_NEWPID)
        os.close(fd)
    pid, pidfd = namespaces.clone3(flags)
    if pid == 0:
        code = 70
        try:
            code = main(*what) or 0
        finally:
            os._exit(code)
    os.close(pidfd)
    return pid


def said(fd: int, word: bytes, seconds: float = _DEADLINE) -> str:
    """What a child says on its error pipe, up to that word or its end. Raises what it could not do."""
    until = time.monotonic() + seconds
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    found = b""
    while word not in found:
        if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
            raise errors.DeadlineExceeded(f"the container was not set up within {seconds:g} s")
        part = os.read(fd, 65536)
        if not part:
            break
        found += part
    refused = failure.read(found.decode(errors="replace"))[1]
    if refused:
        raise errors.from_code(*refused)
    return found.decode(errors="replace")


def master(link: socket.socket) -> int:
    """The terminal's master, which a child sends before it is ready; -1 for none."""
    try:
        _, fds = descriptors.recv(link, 1)
    except OSError:
        return -1
    return fds[0] if fds else -1


def hand_over(path: str, fd: int) -> None:
    """The master to whoever listens at `path`. Raises InvalidArgument when nobody does."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.connect(path)
            socket.send_fds(sock, [b"/dev/ptmx"], [fd])
    except OSError as error:
        raise errors.InvalidArgument(f"console socket {path}: {error.strerror}") from error


def write_pid(path: str, pid: int) -> None:
    if path:
        files.write_atomic(path, b"%d" % pid)


def wait(pid: int) -> int:
    """Forward signals until it has ended: its code, 128 + signal for one that was killed."""
    pidfd = process.pidfd_open(pid)

    def forward(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.pidfd_send_signal(pidfd, number)

    before: dict[int, Any] = {}
    try:
        for number in _FORWARDED:
            before[number] = signal.signal(number, forward)
        status = os.waitpid(pid, 0)[1]
    finally:
        for taken, handler in before.items():
            signal.signal(taken, handler)
        os.close(pidfd)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
