"""One process's connection to the bus: who it is there, whether it is up, and what arrives for it.

nats-py's defaults break the promise (it sends buffered requests later, gives up reconnecting,
notices a dead peer after minutes), hence the options in `open`. Its ping is written past what waits
to be sent, so that its flush, and what it builds on that, may end too early: hence `_Client`.
"""

import asyncio
import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from cribus import pulse
from cribus.bus import subjects
from cribus.bus.credentials import Login
from cribus.errors import Unavailable

PATIENCE = 5.0  # seconds for which "not there" is taken for a restart
RETRY = 0.02  # seconds between tries while it is not there
_PEER = 1.0  # seconds in which a process says whether its call still waits; one that does not is taken to wait
_REMEMBERED = 10_000  # calls that were given up
_WAITS, _LEFT = b"waits", b"left"
T = TypeVar("T")
_logger = logging.getLogger(__name__)


async def pause(seconds: float) -> None:
    """Let a moment pass between two tries of what has no event to wait for."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    timer = loop.call_later(seconds, over.set_result, None)
    try:
        await over
    finally:
        timer.cancel()


class _Client(Client):
    """With a flush that ends when the bus has taken all that was sent and subscribed before."""

    def __init__(self, arrived: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._arrived = arrived

    async def flush(self, timeout: int = 10) -> None:
        async with asyncio.timeout(timeout):
            await self._arrived()


class Connection:
    """`answers` maps a token to what takes the messages sent to `reply_to(token)`."""

    def __init__(self, login: Login) -> None:
        self.login = login
        self.node = login.node
        self.service = login.service
        self.sender = login.service  # as which calls are told (api/trace.py)
        self.nats: Client = _Client(self._arrived)
        self.up = asyncio.Event()
        self.down = asyncio.Event()
        self._stores_nothing = 0.0  # since when no write succeeds (monotonic); 0: the last one did
        self.down.set()
        self.answers: dict[str, Callable[[Msg], None]] = {}
        self.on_reconnect: list[Callable[[], None]] = []
        self._left: OrderedDict[str, None] = OrderedDict()
        self._inbox = f"{subjects.inbox(login.service)}.{uuid.uuid4().hex}"

    async def open(self) -> None:
        """Connect, for as long as it takes. Raises NatsError when the bus refuses the credentials."""
        await self.nats.connect(
            servers=self.login.url.split(","),
            name=f"cribus-{self.service}",
            user=self.login.user or None,
            password=self.login.password or None,
            inbox_prefix=subjects.inbox(self.service).encode(),
            pending_size=0,
            connect_timeout=1,
            reconnect_time_wait=0.02,  # type: ignore[arg-type]
            max_reconnect_attempts=-1,
            ping_interval=2,
            max_outstanding_pings=2,
            error_cb=self._on_error,
            disconnected_cb=self._on_down,
            reconnected_cb=self._on_up,
        )
        await self.nats.subscribe(f"{self._inbox}.*", cb=self._on_answer, pending_msgs_limit=-1, pending_bytes_limit=-1)
        self._set(up=True)

    async def close(self) -> None:
        self._set(up=False)
        await self.nats.close()

    def reply_to(self, token: str) -> str:
        return f"{self._inbox}.{token}"

    def _set(self, *, up: bool) -> None:
        (self.up if up else self.down).set()
        (self.down if up else self.up).clear()

    async def _on_error(self, error: Exception) -> None:
        # while it is away every attempt to reconnect fails; that it went away is said once
        level = logging.WARNING if self.up.is_set() else logging.DEBUG
        _logger.log(level, "bus error", extra={"cause": f"{type(error).__name__}: {error}"})

    async def _on_down(self) -> None:
        if self.up.is_set():
            _logger.warning("bus went away")
        self._set(up=False)

    async def _on_up(self) -> None:
        self._set(up=True)
        _logger.info("bus is back")
        for callback in list(self.on_reconnect):
            callback()

    async def _on_answer(self, msg: Msg) -> None:
        token = msg.subject.rpartition(".")[2]
        take = self.answers.get(token)
        if msg.reply and not msg.data:
            await self.send(msg.reply, _LEFT if token in self._left else _WAITS)
        elif take is not None:
            take(msg)

    async def send(self, subject: str, data: bytes, reply: str = "") -> bool:
        """Publish now or not at all: False while the bus is away. A process that has a successor says nothing more."""
        pulse.checked()
        if not self.up.is_set():
            return False
        try:
            await self.nats.publish(subject, data, reply=reply)
        except NatsError as error:
            _logger.debug("not sent", extra={"subject": subject, "cause": str(error)})
            return False
        return True

    async def listened(self, subject: str) -> bool:
        """Whether anybody listens there now: an answer's subject dies with the process that asked."""
        if not subject:
            return True
        said = await self._probed(subject, 0.0)
        return said is None or not nobody(said)

    async def waits(self, reply: str) -> bool:
        """Whether the call whose answers go there was not given up: its process lives and does not say so.

        That it was given up is also told when it happens, but then bus or listener may just be away.
        """
        if not reply:
            return True
        said = await self._probed(reply, _PEER)
        return said is None or not (nobody(said) or said.data == _LEFT)

    def gave_up(self, token: str) -> None:
        """Remember that nobody here waits any more for the answer to this call."""
        self._left[token] = None
        if len(self._left) > _REMEMBERED:
            self._left.popitem(last=False)

    async def _probed(self, subject: str, patience: float) -> Msg | None:
        """What an empty message to a subject brings back: from the bus when nobody listens, else from who does,
        within so many seconds; None when nothing came."""
        heard: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        token = uuid.uuid4().hex
        self.answers[token] = lambda msg: None if heard.done() else heard.set_result(msg)
        try:
            await self.send(subject, b"", self.reply_to(token))
            await self.while_up(self.nats.flush)  # the bus has told us by now
            if patience and not heard.done():
                await asyncio.wait({heard}, timeout=patience)
            return heard.result() if heard.done() else None
        finally:
            del self.answers[token]

    async def _arrived(self) -> None:
        """Send ourselves a message: what one connection sends is taken in its order, and answered so."""
        token = uuid.uuid4().hex
        here = asyncio.Event()
        self.answers[token] = lambda msg: here.set()
        try:
            await self.nats.publish(self.reply_to(token), b"")
            await here.wait()
        finally:
            del self.answers[token]

    async def while_up(self, attempt: Callable[[], Coroutine[Any, Any, T]], patience: float = PATIENCE) -> T:
        """The result of `attempt`, made again while it fails for want of the bus; it must be repeatable.

        Raises Unavailable when the bus does not come back within `patience` seconds.
        """
        end = time.monotonic() + patience
        while True:
            await self._wait_up(end)
            try:
                async with asyncio.timeout(max(RETRY, end - time.monotonic())):
                    return await self.or_down(attempt())
            except (NatsError, ConnectionError, TimeoutError) as error:
                if time.monotonic() >= end:
                    raise Unavailable(f"the bus does not answer ({error}); see `cribus doctor`") from error
                await pause(RETRY)

    async def written(self, attempt: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The same for what is to be stored. A nats-server whose disk was full once stores nothing more until it
        is started again, however much room there is by then: whoever may start it is told. One that is only slow,
        or was away, has stored something in between."""
        try:
            stored = await self.while_up(attempt)
        except Unavailable:
            now = time.monotonic()
            self._stores_nothing = self._stores_nothing or now
            if now - self._stores_nothing >= PATIENCE and self.up.is_set():
                await self.send(subjects.stuck(self.node, self.service), b"")
            raise
        self._stores_nothing = 0.0
        return stored

    async def _wait_up(self, end: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, end - time.monotonic())):
                await self.up.wait()
        except TimeoutError as error:
            raise Unavailable("the bus is away; `cribus status` shows whether nats runs") from error

    async def or_down(self, work: Awaitable[T]) -> T:
        """The work's result; ConnectionError as soon as the connection drops under it."""
        task = asyncio.ensure_future(work)
        down = asyncio.ensure_future(self.down.wait())
        try:
            await asyncio.wait({task, down}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise ConnectionError("the bus went away")
        finally:
            for one in (task, down):
                one.cancel()
            await asyncio.gather(task, down, return_exceptions=True)


def nobody(msg: Msg) -> bool:
    """Whether the bus says that nobody listens."""
    return msg.headers is not None and msg.headers.get("Status") == "503"
