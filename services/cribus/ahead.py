"""Children of a fork server that are forked before they are needed: one of a kind waits, so that whoever
needs one waits for no fork. While many are needed in a row, those that find none waiting are forked
as they come.

A child is told what to do by one packet on a socket of its own, whether it waits already or is just
being forked. When whoever has the other end dies, the socket closes, and a child that waits ends.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from cribus import forkserver
from cribus.forkserver import Server, Spawned
from cribus.linux import fds as descriptors

QUIET = 0.1  # seconds without need after which the next is forked: not beside what the last is needed for
Fork = Callable[[int], Awaitable[Spawned]]  # its order comes on this descriptor
_logger = logging.getLogger(__name__)


class _Waiting(NamedTuple):
    child: Spawned
    orders: socket.socket

    def order(self, packet: bytes, fds: list[int]) -> Spawned:
        """Raises OSError when it has died."""
        with self.orders:
            descriptors.send(self.orders, packet, fds)
        return self.child

    def dismiss(self) -> None:
        self.orders.close()
        os.close(self.child.pidfd)


class Ahead:
    """One kind of child. `fork` makes one that waits for a packet on its descriptor."""

    def __init__(self, fork: Fork) -> None:
        self._fork = fork
        self._waiting: _Waiting | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._filling: asyncio.Task[None] | None = None

    async def order(self, packet: bytes, fds: list[int]) -> Spawned:
        """The child that got this packet. Raises OSError, ConnectionError as the fork server does."""
        self._fill_later()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            try:
                return waiting.order(packet, fds)
            except BrokenPipeError:
                _logger.warning("a child in waiting has died", extra={"pid": waiting.child.pid})
                os.close(waiting.child.pidfd)
        return (await self._forked()).order(packet, fds)

    async def _forked(self) -> _Waiting:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                return _Waiting(await self._fork(theirs.fileno()), ours)
            except BaseException:
                ours.close()
                raise

    def _fill_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(QUIET, self.fill)

    def fill(self) -> None:
        """Have one waiting soon."""
        if self._waiting is None and (self._filling is None or self._filling.done()):
            self._filling = asyncio.create_task(self._fill())

    async def _fill(self) -> None:
        try:
            self._waiting = await self._forked()
        except OSError as error:
            _logger.error("no child in waiting", extra={"cause": str(error)})

    async def close(self) -> None:
        """Nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._filling is not None:
            await asyncio.wait({self._filling})
        if self._waiting is not None:
            self._waiting.dismiss()
            self._waiting = None


class Function:
    """`server.run` for one function, whose children are forked ahead."""

    def __init__(self, server: Server, function: str) -> None:
        self.ahead = Ahead(lambda orders: server.run(forkserver.ORDERED, {"function": function}, [orders]))

    async def run(self, request: dict[str, Any], fds: list[int]) -> Spawned:
        """As Server.run."""
        with forkserver.packet(forkserver.pack(request)) as (data, spilled):
            return await self.ahead.order(data, [*spilled, *fds])
