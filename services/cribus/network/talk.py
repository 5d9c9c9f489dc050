"""What a program is told and says, within bounds of time and size.

It has said everything when it has ended; what it leaves running may hold its pipes for ever.
"""

import os
import selectors
import subprocess
import time

MOST = 1 << 20  # bytes that it may print on either stream
_LEFT = 0.2  # seconds after its end in which what it printed is still read


class TooMuchError(Exception):
    """It printed more than so many bytes."""


def talk(program: "subprocess.Popen[bytes]", told: bytes, seconds: float) -> tuple[bytes, bytes]:
    """Tell it this on its standard input; what it printed on standard output and error, once it has ended.

    Raises TimeoutError when it does not end in time, TooMuchError; then it still runs.
    """
    pidfd = os.pidfd_open(program.pid)
    try:
        with selectors.DefaultSelector() as waiting:
            said = _Talk(program, told, waiting).until_over(pidfd, time.monotonic() + seconds)
    finally:
        os.close(pidfd)
    program.wait()
    return said


class _Talk:
    def __init__(self, program: "subprocess.Popen[bytes]", told: bytes, waiting: selectors.BaseSelector) -> None:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stderr is not None
        self._stdin = program.stdin
        self._told = told
        self._waiting = waiting
        self._said = {program.stdout.fileno(): bytearray(), program.stderr.fileno(): bytearray()}
        for fd in self._said:
            waiting.register(fd, selectors.EVENT_READ)
        os.set_blocking(self._stdin.fileno(), False)
        waiting.register(self._stdin, selectors.EVENT_WRITE)

    def until_over(self, pidfd: int, end: float) -> tuple[bytes, bytes]:
        self._waiting.register(pidfd, selectors.EVENT_READ)
        ended = False
        while self._waiting.get_map():
            ready = self._waiting.select(max(0.0, end - time.monotonic()))
            if not ready and not ended:
                raise TimeoutError
            if not ready:
                break
            for key, _ in ready:
                if key.fd == pidfd:
                    self._waiting.unregister(pidfd)
                    ended, end = True, time.monotonic() + _LEFT
                elif key.fd in self._said:
                    self._hear(key.fd)
                else:
                    self._tell()
        out, err = self._said.values()
        return bytes(out), bytes(err)

    def _hear(self, fd: int) -> None:
        data = os.read(fd, 65536)
        self._said[fd] += data
        if not data:
            self._waiting.unregister(fd)
        if len(self._said[fd]) > MOST:
            raise TooMuchError(MOST)

    def _tell(self) -> None:
        try:
            self._told = self._told[os.write(self._stdin.fileno(), self._told) :]
        except BrokenPipeError:  # it does not read
            self._told = b""
        if not self._told:
            self._waiting.unregister(self._stdin)
            self._stdin.close()
