"""The bus once it is there: CRI's Version must answer, and all else say why not, before it is."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager

from cribus.api.verb import A, Call, Q, Verb
from cribus.bus.far import Line, Open
from cribus.bus.trace import Asked, Asking, Told
from cribus.errors import Unavailable
from cribus.gateway.events import News, Seen

_PATIENCE = 5.0  # seconds for which a call waits for the bus to appear


class Late:
    """`call`, `lines`, `asked` and the events (gateway/events.py, `News`) work as soon as `arrived` was told how."""

    def __init__(self) -> None:
        self._here = asyncio.Event()
        self._call: Call
        self._lines: Open
        self._asked: Asking
        self._news: News

    def arrived(self, call: Call, news: News, lines: Open, asked: Asking) -> None:
        self._call, self._news, self._lines, self._asked = call, news, lines, asked
        self._here.set()

    def asked(self, name: str) -> AbstractContextManager[Told]:
        """bus/trace.py; what is asked before the bus is there is told to nobody."""
        return self._asked(name) if self._here.is_set() else contextlib.nullcontext(Asked(name))

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._here.wait()
        except TimeoutError as error:
            raise Unavailable("the bus is away; `cribus status` shows whether nats runs") from error

    async def call(self, verb: Verb[Q, A], request: Q, /, *, id: str = "", timeout: float = 30.0) -> A:
        """api/verb.py, `Call`."""
        await self._wait(min(timeout, _PATIENCE))
        return await self._call(verb, request, id=id, timeout=timeout)

    async def first(self) -> int:
        await self._wait(_PATIENCE)
        return await self._news.first()

    async def last(self) -> int:
        await self._wait(_PATIENCE)
        return await self._news.last()

    def follow(self, *, since: int) -> AsyncGenerator[Seen, None]:
        """Events as they come; who asks for them has asked for a number before."""
        return self._news.follow(since=since)

    def lines(
        self, stream: str, on_frame: Callable[[bytes], None], on_reconnect: Callable[[], None]
    ) -> AbstractAsyncContextManager[Line]:
        """bus/far.py, `Open`; a stream is opened by an address that a call answered before."""
        return self._lines(stream, on_frame, on_reconnect)
