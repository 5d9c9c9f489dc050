"""The socket on which an outside runtime hands over a terminal's master (runc's --console-socket)."""

import os
import socket
from contextlib import ExitStack

from cribus import errors
from cribus.executor import waiting


class Console:
    """One, for one terminal. `path` leads through this process, because a socket's path may have 107 bytes only."""

    def __init__(self, stack: ExitStack, folder: str) -> None:
        directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, directory)
        self._sock = stack.enter_context(socket.socket(socket.AF_UNIX))
        name = f"console-{os.urandom(4).hex()}.sock"
        self.path = f"/proc/{os.getpid()}/fd/{directory}/{name}"
        self._sock.bind(self.path)
        stack.callback(os.unlink, f"{folder}/{name}")
        self._sock.listen(1)
        self._sock.setblocking(False)

    async def master(self, seconds: float) -> int:
        """The master, which belongs to the caller. Raises Internal when none comes."""
        try:
            if not await waiting.readable(self._sock.fileno(), seconds):
                raise TimeoutError
            peer, _ = self._sock.accept()
            with peer:
                peer.setblocking(False)
                _, fds = await waiting.receive(peer, 1, seconds)
            return fds[0]
        except (OSError, IndexError) as error:
            raise errors.Internal("the runtime made no terminal") from error
