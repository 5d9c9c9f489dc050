"""Waiting for descriptors from asyncio, always with an end."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Iterator

from cribus import hung
from cribus.forkserver import Spawned
from cribus.linux import fds as descriptors

_logger = logging.getLogger(__name__)


@contextlib.contextmanager
def overseen(child: Spawned) -> Iterator[None]:
    """While inside, somebody waits for what this child says: stopped, it would say nothing, and is killed."""

    def kill() -> None:
        _logger.error("a process that was stopped is killed", extra={"pid": child.pid})
        hung.kill(child.pidfd)

    with hung.Overseen(child.pid, kill):
        yield


async def readable(fd: int, seconds: float) -> bool:
    """Whether `fd` became readable (a pidfd: its process died) within so long.

    Watches a duplicate, so that several may wait for one descriptor.
    """
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    watched = os.dup(fd)
    loop.add_reader(watched, lambda: None if ready.done() else ready.set_result(None))
    try:
        async with asyncio.timeout(seconds):
            await ready
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(watched)
        os.close(watched)
    return True


async def receive(sock: socket.socket, maxfds: int, seconds: float) -> tuple[bytes, list[int]]:
    """One packet from a non-blocking socket. Raises TimeoutError, OSError."""
    if not await readable(sock.fileno(), seconds):
        raise TimeoutError
    return descriptors.recv(sock, maxfds)


async def text(fd: int, seconds: float, enough: bytes = b"\n") -> str:
    """What comes on a pipe until `enough` is in it, or its end. Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    found = b""
    while enough not in found:
        if not await readable(fd, max(0.0, until - loop.time())):
            raise TimeoutError
        part = os.read(fd, 65536)
        if not part:
            break
        found += part
    return found.decode(errors="replace")
