"""The executor's side of the keeper's protocol (keeper.py)."""

import contextlib
import os
import socket

from cribus.errors import Aborted
from cribus.executor import waiting
from cribus.keeper import SOCKET
from cribus.linux import fds as descriptors

ALIVE = "alive"  # a fifo that every keeper of the container has open for writing
_PATIENCE = 5.0  # seconds: a keeper does nothing that takes long


def claim(bundle: str) -> int:
    """The write end of the fifo, to be passed to a keeper. Raises Aborted while another has it."""
    with contextlib.suppress(FileExistsError):
        os.mkfifo(f"{bundle}/{ALIVE}", 0o600)
    if (held := _reader(bundle)) is not None:
        os.close(held)
        raise Aborted("another keeper of this container is just ending; repeat")
    reader = os.open(f"{bundle}/{ALIVE}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.open(f"{bundle}/{ALIVE}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(reader)


async def gone(bundle: str, seconds: float) -> bool:
    """Whether no keeper is left, also none that has not yet its socket, within so long."""
    reader = _reader(bundle)
    if reader is None:
        return True
    try:
        return await waiting.readable(reader, seconds)
    finally:
        os.close(reader)


def _reader(bundle: str) -> int | None:
    """The fifo's read end while somebody has the other open, else None."""
    try:
        reader = os.open(f"{bundle}/{ALIVE}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        os.read(reader, 1)
    except BlockingIOError:
        return reader
    os.close(reader)
    return None


def connect(bundle: str) -> socket.socket | None:
    """A connection to the container's keeper, None when there is none."""
    try:
        directory = os.open(bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return descriptors.connect_at(directory, SOCKET, timeout=0)
    except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
        return None
    finally:
        os.close(directory)


def pid(sock: socket.socket) -> int:
    """Who listens there."""
    return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], "little")


async def get(bundle: str) -> dict[str, int]:
    """Copies of the keeper's descriptors by name; {} without a keeper. The caller closes them."""
    sock = connect(bundle)
    if sock is None:
        return {}
    with sock:
        try:
            descriptors.send(sock, b"get")
            data, fds = await waiting.receive(sock, descriptors.MAX_FDS, _PATIENCE)
        except (OSError, TimeoutError):
            return {}
    return dict(zip(data.decode().split(), fds, strict=True))


async def end(bundle: str) -> bool:
    """Tell the keeper to let go; False when there is none."""
    sock = connect(bundle)
    if sock is None:
        return False
    with sock:
        try:
            descriptors.send(sock, b"end")
            await waiting.receive(sock, 0, _PATIENCE)
        except (OSError, TimeoutError):
            return False
    return True
