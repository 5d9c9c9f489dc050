"""Keepers that hang because somebody has stopped them. They give no signs of life, which would cost every container
something; the kernel is asked instead.

A keeper that is stopped is told to go on, at the first look, for that does no harm whoever stopped it: what it holds
nobody else may have, and it knows nothing that could be old. One that stays stopped, because it is traced or stopped
again and again, is killed: its shim starts another.
"""

import contextlib
import logging
import os
import signal

from cribus import hung
from cribus.executor import keepers, state
from cribus.executor.node import Node
from cribus.keeper import SOCKET
from cribus.linux import process

_EVERY = 2  # of so many looks one is made
_LAST = 5  # looks in a row that find a keeper stopped: being told to go on does not help
_logger = logging.getLogger(__name__)


class _Known:
    """A container's keeper: whose socket it is, and how often in a row it was found stopped."""

    __slots__ = ("inode", "pid", "started", "stopped")

    def __init__(self, inode: int, pid: int, started: int) -> None:
        self.inode = inode
        self.pid = pid
        self.started = started
        self.stopped = 0


class Keepers:
    """`look` is to be called once at the start, then about once a second: who waits for a keeper that was stopped
    together with an executor has waited for that one's successor already."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._folder = f"{node.run}/containers"
        self._known: dict[str, _Known] = {}
        self._looks = 0

    def look(self) -> None:
        self._looks += 1
        if self._looks % _EVERY != 1:
            return
        try:
            there = os.listdir(self._folder)
        except FileNotFoundError:
            there = []
        known, self._known = self._known, {}
        for container in there:
            one = self._found(container, known.get(container))
            if one is not None:
                self._known[container] = one
                self._look_at(container, one)

    def _found(self, container: str, known: _Known | None) -> _Known | None:
        """Its keeper; another one where that was replaced by one that stands in."""
        bundle = f"{self._folder}/{container}"
        try:
            inode = os.stat(f"{bundle}/{SOCKET}").st_ino
        except FileNotFoundError:
            return None
        if known is not None and known.inode == inode:
            return known
        record = state.load(bundle)
        if record is not None and process.is_running(record.keeper, record.keeper_started):
            return _Known(inode, record.keeper, record.keeper_started)
        sock = keepers.connect(bundle)
        if sock is None:
            return None
        with sock:
            pid = keepers.pid(sock)
            return _Known(inode, pid, process.start_time(pid))

    def _look_at(self, container: str, one: _Known) -> None:
        if not hung.stopped(one.pid):
            one.stopped = 0
            return
        one.stopped += 1
        number = signal.SIGKILL if one.stopped >= _LAST else signal.SIGCONT
        _logger.error("a keeper was stopped", extra={"container": container, "pid": one.pid, "signal": number.name})
        _send(one, number)


def _send(one: _Known, number: signal.Signals) -> None:
    """To that very process."""
    try:
        pidfd = process.pidfd_open(one.pid)
    except ProcessLookupError:
        return
    try:
        if process.start_time(one.pid) == one.started:
            with contextlib.suppress(ProcessLookupError):
                process.pidfd_send_signal(pidfd, number)
    finally:
        os.close(pidfd)
