"""TCP connections that begin inside a pod's network namespace."""

import asyncio
import os
import socket
import threading

from cribus.errors import FailedPrecondition, Unavailable
from cribus.linux import namespaces

_LOOPBACKS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_PATIENCE = 10.0  # seconds for a connection to loopback


async def connect(netns: str, port: int) -> socket.socket:
    """A socket connected to `port` of the namespace's loopback, IPv4 first; `netns` empty means the host's.

    Raises FailedPrecondition when the pod's network is gone, Unavailable when nobody listens.
    """
    why: OSError | TimeoutError | None = None
    for family, host in _LOOPBACKS:
        try:
            made = await asyncio.to_thread(_made, netns, family)
        except OSError as error:
            if family == socket.AF_INET6:
                continue  # a host without IPv6: the first reason is the better one
            raise FailedPrecondition(f"the pod's network namespace {netns} cannot be entered: {error}") from error
        try:
            made.setblocking(False)
            async with asyncio.timeout(_PATIENCE):
                await asyncio.get_running_loop().sock_connect(made, (host, port))
            return made
        except (OSError, TimeoutError) as error:
            why = why or error
            made.close()
    raise Unavailable(f"nobody answers at port {port} of the pod's loopback: {why}")


def _made(netns: str, family: socket.AddressFamily) -> socket.socket:
    """A socket of that namespace. It is made in a thread of its own, which ends with it: a thread
    that entered a namespace must never do anything else."""
    if not netns:
        return socket.socket(family, socket.SOCK_STREAM)
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def make() -> None:
        try:
            fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
            try:
                namespaces.setns(fd, namespaces.CLONE_NEWNET)
            finally:
                os.close(fd)
            made.append(socket.socket(family, socket.SOCK_STREAM))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]
