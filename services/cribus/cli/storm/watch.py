"""Every event of the node as it comes, through every death of the bus: who waits for one, and the proof, ask here."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from cribus.api import events
from cribus.api.cri.container import PodSandboxStatusResponse
from cribus.api.events import Event
from cribus.bus import codec
from cribus.bus.service import Bus
from cribus.cli.storm.evidence import Told
from cribus.errors import DeadlineExceeded

_LAST = 20.0  # seconds until the last event must have come


class Watch:
    """`ours` are pods that carry `label`, by what the events say themselves."""

    def __init__(self, label: tuple[str, str]) -> None:
        self.told: list[Told] = []
        self.ours: set[str] = set()
        self.sequence = 0
        self._label = label
        self._ended: set[str] = set()
        self._news = asyncio.Event()

    def take(self, sequence: int, event: Event) -> None:
        """One event of the stream."""
        self.sequence = sequence
        if event.kind == events.SANDBOX_READY and self._is_ours(event):
            self.ours.add(event.id)
        if event.kind == events.CONTAINER_STOPPED:
            self._ended.add(event.id)
        self.told.append(Told(event.kind, event.id, event.pod, event.exit_code, event.exit_known))
        self._news.set()

    def _is_ours(self, event: Event) -> bool:
        if not event.state:
            return False
        status = codec.unpack_message(PodSandboxStatusResponse, event.state).status
        name, value = self._label
        return status is not None and status.labels.get(name) == value

    async def follow(self, bus: Bus, since: int) -> None:
        """Run as a task: everything after event number `since`."""
        self.sequence = since
        async for seen in bus.follow(since=since):
            self.take(seen.sequence, seen.event)

    async def ended(self, container: str, seconds: float) -> None:
        """Wait until a container's end was told. Raises DeadlineExceeded."""
        try:
            async with asyncio.timeout(seconds):
                while container not in self._ended:
                    await self._next()
        except TimeoutError as error:
            raise DeadlineExceeded(f"the end of container {container[:13]} is not told within {seconds:g} s") from error

    async def whole(self, bus: Bus) -> bool:
        """Whether everything that the stream has now has come here."""
        last = await bus.events.last()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST):
                while self.sequence < last:
                    await self._next()
        return self.sequence >= last

    async def _next(self) -> None:
        self._news.clear()
        await self._news.wait()


@contextlib.asynccontextmanager
async def watching(bus: Bus, label: tuple[str, str]) -> AsyncIterator[Watch]:
    """While inside, from now on."""
    watch = Watch(label)
    task = asyncio.create_task(watch.follow(bus, await bus.events.last()))
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
