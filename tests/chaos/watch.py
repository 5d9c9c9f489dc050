"""The node's bus as a bystander sees it: every event as it comes, and the keys of its records."""

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

from cribus.api.events import EXITED, SHIM_REPLACED, Event
from cribus.api.verb import A, Q, Verb
from cribus.bus import client, credentials
from cribus.bus.connection import Connection
from cribus.bus.events import Events
from cribus.bus.kv import Records
from cribus.bus.spool import Spool
from cribus.config import Settings

T = TypeVar("T")


class Watch:
    """Follows from the first event on, in a thread of its own; through every death of the bus."""

    def __init__(self, settings: Settings) -> None:
        self._connection = Connection(credentials.login(settings, "manager"))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="watch")
        self._thread.start()
        self._changed = threading.Condition()
        self.events: list[Event] = []
        self._named: set[str] = set()
        self._do(self._connection.open())
        self._reading = asyncio.run_coroutine_threadsafe(self._read(), self._loop)

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _read(self) -> None:
        async for seen in Events(self._connection, Spool(os.devnull + "/none")).follow(since=0):
            with self._changed:
                self.events.append(seen.event)
                self._changed.notify_all()

    def records(self) -> list[str]:
        """The keys of every record."""
        return sorted(self._do(Records(self._connection).load_all()))

    def of(self, id: str) -> list[Event]:
        """What was told of a pod, container or image."""
        with self._changed:
            return [one for one in self.events if one.id == id]

    def told(self, id: str, kinds: list[str], seconds: float) -> list[str]:
        """The kinds of events of this id, once all of `kinds` are among them, or so long has passed."""

        def there() -> bool:
            return not set(kinds) - {one.kind for one in self.events if one.id == id}

        with self._changed:
            self._changed.wait_for(there, seconds)
            return [one.kind for one in self.events if one.id == id]

    def twice(self) -> list[str]:
        """Events of a pod's or a container's life that were told more than once; each is named once."""
        with self._changed:
            lives = [one for one in self.events if one.pod and one.kind not in (SHIM_REPLACED, EXITED)]
        counted = Counter(f"{one.kind} {one.id}" for one in lives)
        found = [one for one, count in counted.items() if count > 1 and one not in self._named]
        self._named.update(found)
        return found

    def call(self, verb: Verb[Q, A], request: Q) -> A:
        """Ask a service, as the manager does."""
        return self._do(client.call(self._connection, verb, request, ("", 20.0)))

    def close(self) -> None:
        self._reading.cancel()
        self._do(self._connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
