"""The keeper's protocol from the shim's side (drawn in cribus/keeper.py): fetch descriptors, leave some.

The connection stays open, because its end is the news that the keeper has gone.
"""

import os
import socket
from collections.abc import Iterable

from cribus.errors import FailedPrecondition
from cribus.linux import fds as descriptors

SOCKET = "keeper.sock"
_PATIENCE = 5.0  # seconds; a keeper answers in microseconds or not at all


class Keeper:
    """A container's keeper. Its descriptors outlive us; what `get` returned is ours to close."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock: socket.socket | None = sock

    def get(self) -> dict[str, int]:
        """Copies of everything it holds, by name. Raises OSError."""
        names, fds = self._ask(b"get")
        return dict(zip(names.decode().split(), fds, strict=True))

    def put(self, name: str, fd: int) -> None:
        """Let it hold a copy of `fd`. When it has gone nothing is held: what we have still works.

        Raises OSError.
        """
        if self.sock is None:
            return
        answer, _ = self._ask(b"put " + name.encode(), [fd])
        if answer != b"ok":
            raise OSError(5, f"the keeper does not take {name}: {answer.decode(errors='replace')}")

    def _ask(self, request: bytes, fds: Iterable[int] = ()) -> tuple[bytes, list[int]]:
        assert self.sock is not None
        descriptors.send(self.sock, request, list(fds))
        data, passed = descriptors.recv(self.sock)
        if not data:
            raise OSError(104, "the keeper went away")
        return data, passed

    def close(self) -> None:
        """Idempotent."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None


def connect(folder: str) -> Keeper:
    """The keeper of the container whose run directory is `folder`.

    Raises FailedPrecondition when there is none, OSError when it does not answer.
    """
    try:
        dirfd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise FailedPrecondition(f"{folder} is not there: create the container first") from error
    try:
        return Keeper(descriptors.connect_at(dirfd, SOCKET, _PATIENCE))
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise FailedPrecondition(f"no keeper serves {folder}/{SOCKET}: the container was not created") from error
    finally:
        os.close(dirfd)
