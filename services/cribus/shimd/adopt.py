"""Finding the live shim of a pod, whoever started it, and telling a hung one from a live one.

The kernel names the process that listens on `shim.sock` (SO_PEERCRED). Its pid is trusted only when
it answers after the pidfd was opened: then the pidfd is that very process.
"""

import asyncio
import contextlib
import os
import select
import socket
import struct

import msgpack

from cribus import hung
from cribus.linux import fds as descriptors
from cribus.linux import process
from cribus.shim.door import SOCKET

PATIENCE = 5.0  # seconds; a shim answers in a millisecond
_CREDENTIALS = struct.Struct("iII")


class Shim:
    """A shim's process. `pidfd` is ours to close."""

    __slots__ = ("pid", "pidfd")

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.pidfd = pidfd

    def kill(self) -> None:
        """SIGKILL: what a shim must not lose is elsewhere. Idempotent."""
        try:
            process.pidfd_send_signal(self.pidfd, 9)
        except ProcessLookupError:
            return

    def dead(self) -> bool:
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))


async def find(folder: str) -> Shim | None:
    """The pod's live shim, or None; one that hangs is killed, and counts as none."""
    sock = descriptors.connect_in(folder, SOCKET)
    if sock is None:
        return None
    with sock:
        pid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[0]
        try:
            shim = Shim(pid, process.pidfd_open(pid))
        except ProcessLookupError:
            return None
        if await _answers(sock, hung.LOOK if hung.stopped(pid) else PATIENCE):
            return shim
        if _holds(sock):
            shim.kill()
            await gone(shim)
        os.close(shim.pidfd)
        return None


def lost(run: str, known: set[int]) -> list[Shim]:
    """Shims of this node that live, but are none of these: their directories were deleted under them, or
    shimd was killed while it stopped them. Each of their pods may have another shim by now."""
    found = []
    for pid in process.named("shim:"):
        if pid in known:
            continue
        with contextlib.suppress(ProcessLookupError):
            shim = Shim(pid, process.pidfd_open(pid))
            if os.path.dirname(process.home(pid)) == f"{run}/pods":
                found.append(shim)
            else:
                os.close(shim.pidfd)
    return found


async def healthy(folder: str) -> bool:
    """Whether the pod's shim answers."""
    sock = descriptors.connect_in(folder, SOCKET)
    if sock is None:
        return False
    with sock:
        return await _answers(sock, PATIENCE)


async def gone(shim: Shim) -> None:
    """Wait for the process to end."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    loop.add_reader(shim.pidfd, lambda: None if ended.done() else ended.set_result(None))
    try:
        await ended
    finally:
        loop.remove_reader(shim.pidfd)


async def _answers(sock: socket.socket, seconds: float) -> bool:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            await loop.sock_sendall(sock, msgpack.packb({"who": 1}))
            return bool(await loop.sock_recv(sock, 4096))
    except (TimeoutError, OSError):
        return False


def _holds(sock: socket.socket) -> bool:
    """Whether the other side still is there: it hangs, but its pid is its own."""
    try:
        return sock.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
