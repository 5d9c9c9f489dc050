"""With a shell in the runtime's place."""

import os
import select
import signal
import socket
from pathlib import Path

from cribus.executor.child import outside_exec
from cribus.linux import fds as descriptors
from cribus.linux import process


class Run:
    """The child, and our ends of what it got."""

    def __init__(self, folder: Path, script: str) -> None:
        self.answer, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.exit, exit_write = os.pipe()
        null = os.open("/dev/null", os.O_RDWR)
        what = {"path": "/bin/sh", "argv": ["sh", "-c", script], "env": {"PATH": "/bin"}, "cwd": str(folder)}
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.exit)
            self.answer.close()
            fds = [theirs.detach(), null, os.dup(null), os.dup(null), exit_write]
            os._exit(outside_exec.main({"program": what, "pid": str(folder / "pid")}, fds))
        theirs.close()
        os.close(exit_write)
        os.close(null)

    def told(self) -> tuple[bytes, list[int]]:
        self.answer.settimeout(10)
        return descriptors.recv(self.answer)

    def over(self) -> int:
        """The status on the exit pipe, once the child itself has ended."""
        status = os.read(self.exit, 4)
        os.waitpid(self.pid, 0)
        return int.from_bytes(status, "little") if status else -1

    def close(self) -> None:
        self.answer.close()
        os.close(self.exit)


LEAVES = "sh -c 'echo $$ > pid; exec sleep 100' & until [ -s pid ]; do :; done"


def test_it_tells_the_end_of_what_the_runtime_left(tmp_path: Path) -> None:
    run = Run(tmp_path, LEAVES)
    data, (pidfd,) = run.told()
    assert int(data) == int((tmp_path / "pid").read_text())
    process.pidfd_send_signal(pidfd, signal.SIGTERM)
    assert run.over() == signal.SIGTERM
    os.close(pidfd)
    run.close()


def test_a_runtime_that_fails(tmp_path: Path) -> None:
    run = Run(tmp_path, "exit 3")
    assert run.told() == (b"error the runtime ended with 3", [])
    assert run.over() == -1
    run.close()


def test_what_nobody_waits_for_is_killed(tmp_path: Path) -> None:
    run = Run(tmp_path, LEAVES)
    _, (pidfd,) = run.told()
    run.close()
    assert select.select([pidfd], [], [], 10)[0]
    os.waitpid(run.pid, 0)
    os.close(pidfd)


def test_also_a_runtime_that_hangs(tmp_path: Path) -> None:
    run = Run(tmp_path, "sleep 100")
    run.close()
    assert os.waitstatus_to_exitcode(os.waitpid(run.pid, 0)[1]) == 1
