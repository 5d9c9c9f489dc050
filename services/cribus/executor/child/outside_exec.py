"""An exec by an outside runtime: runs its `exec --detach`, takes over the process that it leaves, and tells
that one's end. It is to an exec what the keeper is to a container.

Descriptors: a SEQPACKET socket to the executor, then the process's stdin, stdout and stderr and its exit
pipe. On the socket goes the process's pid with a pidfd, or "error …".
"""

import contextlib
import os
import select
import signal
import socket

from cribus.executor.child import program
from cribus.linux import fds as descriptors
from cribus.linux import files, namespaces, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main(request: "dict[str, Any]", fds: list[int]) -> int:
    """`program` is what child/program.py executes, `pid` the file in which it leaves the process's pid."""
    answer = socket.socket(fileno=fds[0])
    os.setsid()
    process.set_subreaper()
    runtime, runtime_pidfd = namespaces.clone3()
    if runtime == 0:
        code = 70
        try:
            code = program.main(request["program"], fds[1:4])
        finally:
            os._exit(code)
    for fd in fds[1:4]:
        os.close(fd)
    code = os.waitstatus_to_exitcode(_ended(runtime, runtime_pidfd, fds[4]))
    if code:
        _send(answer, f"error the runtime ended with {code}".encode(), [])
        return 1
    pid = int(files.read(request["pid"]))
    pidfd = process.pidfd_open(pid)
    _send(answer, b"%d" % pid, [pidfd])
    answer.close()
    status = _ended(pid, pidfd, fds[4])
    with contextlib.suppress(BrokenPipeError):
        os.write(fds[4], status.to_bytes(4, "little"))
    return 0


def _send(answer: socket.socket, data: bytes, fds: list[int]) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # an executor that died
        descriptors.send(answer, data, fds)


def _ended(pid: int, pidfd: int, exit_fd: int) -> int:
    """Its wait status, when it has ended; killed, with its process group, when nobody reads of ends any more."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(exit_fd, 0)  # POLLERR, no reader, is told unasked
    while pidfd not in dict(poll.poll()):
        poll.unregister(exit_fd)
        with contextlib.suppress(ProcessLookupError):  # it is not reaped yet, so the pid is still its own
            os.kill(pid, signal.SIGKILL)
            group = os.getpgid(pid)  # its own, or the runtime's, which leads one unless it had no time to
            if group != os.getpgrp():
                os.killpg(group, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]
