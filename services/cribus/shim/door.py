"""`shim.sock` in the pod's run directory: what cannot go over the bus.

SEQPACKET, one msgpack map a packet:

    executor → shim   {"exec": id}             → {"exec": id} + [stdin, stdout, stderr, exit] or [link, exit]
    executor → shim   {"exec": id, "pid": n}   + [pidfd], once the process was forked
    shimd    → shim   {"who": 1}               → {"pid": n, "pod": id}: it lives and is not hung

On `link`, a socket, the process gives the master of its terminal before it executes.
An id that is not known is answered without descriptors: the shim that knew it died.
"""

import contextlib
import os
import signal
import socket
from typing import Any, Protocol

import msgpack

from cribus.linux import fds as descriptors
from cribus.linux import process
from cribus.shim.loop import READ, Loop

SOCKET = "shim.sock"


class Waiting(Protocol):
    """An exec whose process is being forked."""

    def outer(self) -> list[int]: ...  # the descriptors for it; they stay the exec's
    def forked(self, pid: int, pidfd: int) -> None: ...  # the pidfd is the exec's from now on


class Door:
    def __init__(self, loop: Loop, folder: int, pod: str) -> None:
        """Listen in the directory `folder`. Raises OSError."""
        self.execs: dict[str, Waiting] = {}
        self._loop = loop
        self.pod = pod
        self._sock = descriptors.listen_at(folder, SOCKET)
        self._sock.setblocking(False)
        self._clients: set[socket.socket] = set()
        loop.watch(self._sock.fileno(), READ, self._knock)

    def _knock(self, _: int) -> None:
        try:
            client, _ = self._sock.accept()
        except OSError:  # it went away again, or descriptors are short: it will knock again
            return
        client.setblocking(False)
        self._clients.add(client)
        self._loop.watch(client.fileno(), READ, lambda _: self._hear(client))

    def _hear(self, client: socket.socket) -> None:
        try:
            data, fds = descriptors.recv(client, 1)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self._leave(client)
            return
        said = msgpack.unpackb(data)
        if "pid" in said and fds:
            self._forked(said, fds[0])
            return
        for fd in fds:
            os.close(fd)
        answer, passed = self._answer(said)
        with contextlib.suppress(OSError):  # a client that died meanwhile
            descriptors.send(client, msgpack.packb(answer), passed)

    def _leave(self, client: socket.socket) -> None:
        self._loop.forget(client.fileno())
        self._clients.discard(client)
        client.close()

    def close(self) -> None:
        """Listen no longer, and let everybody go."""
        for client in list(self._clients):
            self._leave(client)
        self._loop.forget(self._sock.fileno())
        self._sock.close()

    def _forked(self, said: dict[str, Any], pidfd: int) -> None:
        waiting = self.execs.get(said["exec"])
        if waiting is not None:
            waiting.forked(said["pid"], pidfd)
            return
        # nobody reads its output any more, and its caller was told so
        with contextlib.suppress(ProcessLookupError):
            process.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)

    def _answer(self, said: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        if "who" in said:
            return {"pid": os.getpid(), "pod": self.pod}, []
        waiting = self.execs.get(said.get("exec", ""))
        return said, waiting.outer() if waiting is not None else []
