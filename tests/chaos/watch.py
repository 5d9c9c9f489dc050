"""The node's bus as a bystander sees it: every event as it comes, and the keys of its records."""

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

from cribus.api import trace
from cribus.api.events import EXITED, SHIM_REPLACED, Event
from cribus.api.verb import A, Empty, Q, Verb
from cribus.bus import client, credentials
from cribus.bus.connection import Connection
from cribus.bus.events import Events
from cribus.bus.kv import Records
from cribus.bus.spool import Spool
from cribus.config import Settings

from tests.harness import SERVICES

T = TypeVar("T")


class Watch:
    """Follows from the first event on, in a thread of its own; through every death of the bus."""

    def __init__(self, settings: Settings) -> None:
        self._connection = Connection(credentials.login(settings, "manager"))
        self._asking = Connection(credentials.login(settings, "cli"))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="watch")
        self._thread.start()
        self._changed = threading.Condition()
        self.events: list[Event] = []
        self._named: set[str] = set()
        for one in (self._connection, self._asking):
            self._do(one.open())
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

    def record(self, key: str) -> bytes:
        """One of them, as the KV has it; empty where it has none."""
        return self._do(Records(self._connection).load_all()).get(key, b"")

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

    def count(self, id: str, kind: str, wanted: int, seconds: float) -> int:
        """How many events of this kind there were, once there are so many, or so long has passed."""

        def there() -> int:
            return sum((one.id, one.kind) == (id, kind) for one in self.events)

        with self._changed:
            self._changed.wait_for(lambda: there() >= wanted, seconds)
            return there()

    def twice(self) -> list[str]:
        """Events of a pod's or a container's life that were told more than once; each is named once."""
        with self._changed:
            lives = [one for one in self.events if one.pod and one.kind not in (SHIM_REPLACED, EXITED)]
        counted = Counter(f"{one.kind} {one.id}" for one in lives)
        found = [one for one, count in counted.items() if count > 1 and one not in self._named]
        self._named.update(found)
        return found

    def call(self, verb: Verb[Q, A], request: Q) -> A:
        """Ask a service, as the `cribus` command does."""
        return self._do(client.call(self._asking, verb, request, ("", 20.0)))

    def going(self) -> list[str]:
        """What any service is at just now: requests that it serves, and steps."""
        asked = ((one, self.call(trace.going(one), Empty())) for one in SERVICES if one != "nats")
        return [f"{service}: {span.name} {span.id}" for service, answer in asked for span in answer.spans]

    def close(self) -> None:
        self._reading.cancel()
        for one in (self._connection, self._asking):
            self._do(one.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
