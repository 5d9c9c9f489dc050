"""Waiting for descriptors from asyncio, always with an end."""

import asyncio
import os
import socket

from cribus.linux import fds as descriptors


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
