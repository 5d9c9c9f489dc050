"""Who waits for which container's exit, and exits that came before their start was answered."""

import asyncio
import contextlib
from collections.abc import Iterator

from cribus.api.events import Event


class Waiters:
    """In memory only: a waiter lives no longer than its request."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._held: dict[str, list[Event]] = {}

    @contextlib.contextmanager
    def waiting(self, id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever there is news of this container."""
        told = asyncio.Event()
        self._waiting.setdefault(id, set()).add(told)
        try:
            yield told
        finally:
            others = self._waiting[id]
            others.discard(told)
            if not others:
                del self._waiting[id]

    def tell(self, id: str) -> None:
        for told in self._waiting.get(id, ()):
            told.set()

    @contextlib.contextmanager
    def holding(self, id: str) -> Iterator[None]:
        """While inside, an exit of this container is kept for `kept` and not recorded."""
        self._held[id] = []
        try:
            yield
        finally:
            self._held.pop(id, None)

    def held(self, id: str) -> bool:
        return id in self._held

    def keep(self, event: Event) -> None:
        self._held[event.id].append(event)

    def kept(self, id: str, pid: int) -> Event | None:
        """This process's exit, if it came while it was held; holding ends."""
        return next((event for event in self._held.pop(id, []) if event.pid in (0, pid)), None)
