"""A terminal with a program in it, for tests that need one: what a person sees and types."""

import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl


class Terminal:
    """`process` has it as its controlling terminal; `seen` is everything that was shown."""

    def __init__(self, argv: list[str], env: dict[str, str] | None = None, size: tuple[int, int] = (80, 24)) -> None:
        self._master, slave = os.openpty()
        self.resize(*size)
        self.seen = b""
        self.process = subprocess.Popen(
            argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
            start_new_session=True,
            preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def resize(self, width: int, height: int) -> None:
        ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def until(self, pattern: str, seconds: float = 20) -> "re.Match[bytes]":
        """Read until `pattern` was shown; what was shown before its end is forgotten."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern.encode(), self.seen)):
            assert self._more(end - time.monotonic()), f"{pattern!r} was not shown, but {self.seen!r}"
        self.seen = self.seen[found.end() :]
        return found

    def exited(self, seconds: float = 20) -> int:
        """The program's exit code, once it has ended; all that it said is then in `seen`."""
        end = time.monotonic() + seconds
        while self._more(end - time.monotonic()):
            pass
        return self.process.wait(max(0.1, end - time.monotonic()))

    def _more(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], max(0.0, seconds))[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: nobody has the other side any more
            return False
        self.seen += data
        return bool(data)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self._master)


@contextmanager
def terminal(
    argv: list[str], env: dict[str, str] | None = None, size: tuple[int, int] = (80, 24)
) -> Iterator[Terminal]:
    one = Terminal(argv, env, size)
    try:
        yield one
    finally:
        one.close()
