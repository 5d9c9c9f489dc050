"""A shim in waiting: forked and connected to the bus before there is a pod for it, so that no pod's start
waits for either. It costs one shim's memory a node, and saves some 4 ms of RunPodSandbox.

A shim is told its pod by one packet on a socket of its own, whether it waits already or is just being
forked; when shimd dies, the socket closes, and a shim that waits ends.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from cribus.linux import fds as descriptors
from cribus.shimd.adopt import Shim

QUIET = 0.03  # seconds without an order after which the next one is forked: not beside a pod's own start
Fork = Callable[[int], Awaitable[Shim]]  # its orders come on this descriptor
_logger = logging.getLogger(__name__)


class _Waiting(NamedTuple):
    shim: Shim
    orders: socket.socket

    def order(self, pod: str, ready: int) -> Shim:
        """Raises OSError when it has died."""
        with self.orders:
            descriptors.send(self.orders, pod.encode(), [ready])
        return self.shim

    def dismiss(self) -> None:
        self.orders.close()
        os.close(self.shim.pidfd)


class Park:
    def __init__(self, fork: Fork) -> None:
        self._fork = fork
        self._parked: _Waiting | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._filling: asyncio.Task[None] | None = None

    async def shim(self, pod: str, ready: int) -> Shim:
        """A process that is about to be the pod's shim (shims.Spawn). Raises OSError."""
        self._fill_later()
        parked, self._parked = self._parked, None
        if parked is not None:
            try:
                return parked.order(pod, ready)
            except OSError as error:
                _logger.warning("the shim in waiting has died", extra={"pid": parked.shim.pid, "cause": str(error)})
                os.close(parked.shim.pidfd)
        return (await self._forked()).order(pod, ready)

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
        """Have one in waiting soon."""
        if self._parked is None and (self._filling is None or self._filling.done()):
            self._filling = asyncio.create_task(self._fill())

    async def _fill(self) -> None:
        try:
            self._parked = await self._forked()
        except OSError as error:
            _logger.error("no shim in waiting", extra={"cause": str(error)})

    async def close(self) -> None:
        """Nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._filling is not None:
            await asyncio.wait({self._filling})
        if self._parked is not None:
            self._parked.dismiss()
            self._parked = None
