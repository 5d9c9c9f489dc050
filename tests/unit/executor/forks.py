"""A fork server's client that forks from the test itself; for children that do little."""

import contextlib
import os
import select
import signal
import threading
from collections.abc import Sequence
from typing import Any

from cribus import forkserver
from cribus.forkserver import Spawned


class Forks:
    """`run` as forkserver.Server has it."""

    async def run(self, function: str, request: dict[str, Any], fds: Sequence[int] = ()) -> Spawned:
        target = forkserver.find(function)
        told = os.dup(fds[request["_exit_fd"]]) if "_exit_fd" in request else -1
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(target(request, [os.dup(fd) for fd in fds]) or 0)
            finally:
                os._exit(70)
        pidfd = os.pidfd_open(pid)
        threading.Thread(target=_reap, args=(pid, os.dup(pidfd), told)).start()
        return Spawned(pid, pidfd)


def _reap(pid: int, pidfd: int, told: int) -> None:
    """As the fork server does: the status goes to whoever reads it, and without a reader the child is killed."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if told >= 0:
        poll.register(told, 0)
    if pidfd not in dict(poll.poll()):
        os.killpg(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    os.close(pidfd)
    if told >= 0:
        with contextlib.suppress(BrokenPipeError):
            os.write(told, status.to_bytes(4, "little"))
        os.close(told)
