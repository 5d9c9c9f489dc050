"""A shim that is told to go, because a newer one shall take over: it leaves at a moment when nobody
waits for an answer of it, and no request is on its way to it.

What it must not lose is elsewhere anyway; this is for the sake of those who ask.
"""

from collections.abc import Callable
from typing import NamedTuple

from cribus.shim.loop import Loop

LONGEST = 10.0  # seconds that it stays for commands that run and clients that are attached


class Desk(NamedTuple):
    """What a shim serves at. `settled` calls back once the bus has taken what was sent so far."""

    busy: Callable[[], bool]
    open: Callable[[], None]
    close: Callable[[], None]
    settled: Callable[[Callable[[], None]], None]


class Retirement:
    """`look` is to be called whenever it may have become idle."""

    def __init__(self, loop: Loop, desk: Desk) -> None:
        self._loop = loop
        self._desk = desk
        self._closing = False
        loop.later(LONGEST, loop.stop)

    def look(self) -> None:
        if self._closing or self._desk.busy():
            return
        self._closing = True
        self._desk.close()
        self._desk.settled(self._settled)

    def _settled(self) -> None:
        """What was sent to us before we closed has arrived by now."""
        self._closing = False
        if self._desk.busy():
            self._desk.open()
        else:
            self._loop.stop()
