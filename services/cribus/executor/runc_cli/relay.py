"""A container's terminal for whoever ran it from one: bytes both ways, and the size."""

import contextlib
import fcntl
import os
import select
import signal
import socket
import tempfile
import termios
import tty
from contextlib import ExitStack

from cribus.executor.runc_cli import forks


class Console:
    """A console socket of our own."""

    def __init__(self, stack: ExitStack) -> None:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cribus-oci"))
        self.path = f"{folder}/console"
        self._sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        self._sock.bind(self.path)
        self._sock.listen(1)

    def master(self) -> int:
        """The master that was handed over."""
        peer, _ = self._sock.accept()
        with peer:
            _, fds, _, _ = socket.recv_fds(peer, 64, 1)
        return fds[0]


def wait(pid: int, master: int) -> int:
    """Pass everything on until the process has ended: its code."""
    try:
        with ExitStack() as stack:
            if os.isatty(0):
                _become_raw(stack, master)
            _pump(pid, master)
            return forks.wait(pid)
    finally:
        os.close(master)


def _become_raw(stack: ExitStack, master: int) -> None:
    """Our own terminal, until the stack ends."""
    before = termios.tcgetattr(0)
    stack.callback(termios.tcsetattr, 0, termios.TCSADRAIN, before)
    tty.setraw(0)
    stack.callback(signal.signal, signal.SIGWINCH, signal.signal(signal.SIGWINCH, lambda *_: _fit(master)))
    _fit(master)


def _fit(master: int) -> None:
    with contextlib.suppress(OSError):
        fcntl.ioctl(master, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))


def _pump(pid: int, master: int) -> None:
    """Until nobody has the terminal any more, or the process has ended and nothing is left in it."""
    pidfd = os.pidfd_open(pid)
    sources = {0, master, pidfd}
    try:
        while True:
            ready = select.select(list(sources), [], [])[0]
            if master in ready:
                try:
                    os.write(1, os.read(master, 65536))
                except OSError:  # EIO: its other side is closed everywhere
                    return
            elif 0 in ready:
                data = os.read(0, 65536)
                os.write(master, data or b"\x04")
                if not data:
                    sources.discard(0)
            elif pidfd in ready:
                return
    finally:
        os.close(pidfd)
