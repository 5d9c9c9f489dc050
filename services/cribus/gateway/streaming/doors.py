"""Doors: addresses that open one stream, once, within a minute. Who has the address may enter."""

import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

from cribus.errors import ResourceExhausted
from cribus.gateway.streaming.exec import Run
from cribus.gateway.streaming.port_forward import Connect

LIFE = 60.0  # seconds in which a door must be used
_MOST = 1000  # doors that nobody has used yet


class Command(NamedTuple):
    """An exec or attach: the lanes that its client opens, and what then happens."""

    kind: str
    lanes: set[str]
    run: Run


class Forward(NamedTuple):
    """A port forwarding."""

    connect: Connect
    ports: list[int]
    kind: str = "portforward"


Door = Command | Forward


class Doors:
    """The doors that are open now. `now` is a clock in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._doors: dict[str, tuple[float, Door]] = {}
        self._now = now

    def open(self, door: Door) -> str:
        """The path of a new door. Raises ResourceExhausted when too many wait to be used."""
        self._close_old()
        if len(self._doors) >= _MOST:
            raise ResourceExhausted(f"{_MOST} streams were asked for and not used yet; try again in a minute")
        token = secrets.token_urlsafe(32)
        self._doors[token] = (self._now() + LIFE, door)
        return f"/{door.kind}/{token}"

    def enter(self, path: str) -> Door | None:
        """The door at a path, which closes behind; None when there is none (any more)."""
        self._close_old()
        kind, _, token = path.removeprefix("/").partition("/")
        _, door = self._doors.get(token, (0.0, None))
        if door is None or door.kind != kind:
            return None
        del self._doors[token]
        return door

    def _close_old(self) -> None:
        """Doors stand in the order of their ends."""
        now = self._now()
        while self._doors:
            token, (end, _) = next(iter(self._doors.items()))
            if end > now:
                return
            del self._doors[token]
