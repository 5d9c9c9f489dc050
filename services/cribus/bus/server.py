"""Answering. One subscription a service; a table of verbs; every request in a task of its own.

A request that is known by its id is never run twice: while it runs a repeat waits for the same
result, afterwards it gets the same answer again. Deadlines are checked before anything is done.

A caller that goes away says so (its request with n = 0); one that was killed cannot, but then the
bus says that nobody listens for the answer. Either way a verb may want to know that what it made is
claimed by nobody: its handler in `unheard` gets the answer.
"""

import asyncio
import contextlib
import contextvars
import errno
import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from cribus import log, pulse
from cribus.api.verb import Verb
from cribus.bus import codec
from cribus.bus.connection import Connection
from cribus.bus.trace import Asking, Told
from cribus.errors import Aborted, CribusError, DeadlineExceeded, Internal, ResourceExhausted, Unimplemented

Handler = Callable[[Any], Awaitable[Any]]
Table = Mapping[Verb[Any, Any], Handler]
_KEEP = 30.0  # seconds for which an answer is kept for a repeat
_IDS = ("container", "container_id", "pod", "pod_sandbox_id")
_SHORT = 80  # characters of a field that is told whole; a longer one is not
_LARGE = 16 << 10  # bytes beyond which an answer is not kept: lists are long, and asked for often
_DRAIN = 1.0  # seconds that running requests get at the end
_DRAIN_ONCE = 4.0  # and then those that no successor may run again, whose callers would be told to think for themselves
_SCARCE = (errno.EAGAIN, errno.ENOMEM, errno.ENFILE, errno.EMFILE, errno.ENOSPC, errno.EDQUOT)
_logger = logging.getLogger(__name__)


class _Job:
    """One request id: who waits for it, and its answer once there is one."""

    __slots__ = ("answer", "at", "deaf", "left", "replies", "unheard")

    def __init__(self, reply: str) -> None:
        self.replies = {reply}
        self.left = False  # the caller said that it goes away
        self.deaf = 0  # reply subjects at which nobody listened
        self.unheard: Callable[[], None] | None = None  # what to do when nobody heard the answer, once
        self.answer: list[bytes] | None = None
        self.at = 0.0


class Tables(NamedTuple):
    """Who answers what, who is told of answers that reached nobody, and who hears of every request."""

    verbs: Table
    unheard: Table
    asked: Asking


class Server:
    """Serves a table on a connection."""

    def __init__(self, connection: Connection, tables: Tables) -> None:
        self._connection = connection
        self._unheard = tables.unheard
        self._asked = tables.asked
        self._verbs = {verb.name: (verb, handler) for verb, handler in tables.verbs.items()}
        self._jobs: OrderedDict[str, _Job] = OrderedDict()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._leaving = False

    async def on_message(self, msg: Msg) -> None:
        """Take one request; its work goes on in a task."""
        pulse.checked()
        try:
            meta, body = codec.unpack_request(msg.data)
            codec.refuse_stale(meta)
        except CribusError as error:
            await self._answer(msg.reply, codec.pack_error(error))
            return
        known = self._jobs.get(meta.id)
        if meta.n == 0:
            if known is not None:
                known.left = True
                _tell(known)
        elif known is None:
            self._forget_old()
            job = self._jobs[meta.id] = _Job(msg.reply)  # before any await: its repeat may be next in line
            task = asyncio.create_task(self._run(job, msg, meta, body), name=msg.subject.split(".")[3])
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif known.answer is None:
            known.replies.add(msg.reply)
        else:
            await self._answer(msg.reply, known.answer)

    async def _run(self, job: _Job, msg: Msg, meta: codec.Meta, body: Any) -> None:
        name = msg.subject.split(".")[3]
        with log.ids(trace=meta.trace, request=meta.id, until=str(meta.until), caller=msg.reply):
            made, answer = None, list[bytes]()
            try:
                with self._asked(f"{self._connection.service}.{name}") as asked:
                    made = await self._handle(name, meta, body, asked)
                answer = codec.pack_reply(made)
            except BaseException as error:
                if isinstance(error, asyncio.CancelledError) and self._leaving and self._verbs[name][0].repeatable:
                    raise  # unanswered: the caller's repeat finds our successor
                answer = codec.pack_error(_explained(name, error))
                if isinstance(error, asyncio.CancelledError):
                    raise
            finally:
                job.at = time.monotonic()
                job.answer = answer  # from here on a repeat is answered at once
                if sum(map(len, answer)) > _LARGE and self._verbs[name][0].repeatable:
                    del self._jobs[meta.id]  # too large to keep: a repeat makes it again
                listening = self._listening(job, self._verbs[name][0], made) if made is not None else ""
                for reply in job.replies:
                    await self._answer(reply, answer, listening)

    async def _handle(self, name: str, meta: codec.Meta, body: Any, asked: Told) -> Any:
        if name not in self._verbs:
            raise Unimplemented(f"{self._connection.service} does not know the verb {name}; it may be older than you")
        verb, handler = self._verbs[name]
        if meta.n > 1 and not verb.repeatable:
            raise Aborted(f"the process that ran {name} died; it may or may not have happened")
        if meta.late:
            raise DeadlineExceeded(f"{name} arrived after its deadline and was not run")
        request = codec.to_message(verb.request, body)
        asked.id, asked.told = about(request, meta)
        made = await handler(request)
        asked.id = asked.id or _id_of(made)
        return made

    async def _answer(self, reply: str, payloads: list[bytes], listening: str = "") -> None:
        """Send an answer; while the bus is away it waits in its job for the caller's repeat."""
        if reply:
            for payload in payloads:
                await self._connection.send(reply, payload, listening)

    def _listening(self, job: _Job, verb: Verb[Any, Any], made: Any) -> str:
        """Where the bus says that nobody listens for an answer; empty when its verb does not care."""
        handler = self._unheard.get(verb)
        if handler is None:
            return ""

        known = contextvars.copy_context()  # whose request it was, also for who tells much later

        def unheard() -> None:
            task = asyncio.get_running_loop().create_task(_awaited(handler(made)), context=known)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        def nobody(msg: Msg) -> None:
            job.deaf += 1
            if job.deaf == len(job.replies):
                _tell(job)

        job.unheard = unheard
        if job.left:
            _tell(job)
            return ""
        token = uuid.uuid4().hex
        self._connection.answers[token] = nobody
        asyncio.get_running_loop().call_later(_KEEP, self._connection.answers.pop, token, None)
        return self._connection.reply_to(token)

    async def listened(self, reply: str) -> bool:
        """Whether somebody waits where an answer went or will go: no longer when its caller said that it goes
        away, or says so now, or when the bus knows of nobody there."""
        job = self._jobs.get(reply.rpartition(".")[2])
        if job is not None and job.left:
            return False
        # That takes a moment, in which the news that its caller left may overtake his next request.
        return await self._connection.waits(reply) and not (job is not None and job.left)

    def _forget_old(self) -> None:
        """The oldest answers go first; one that is still being made stays behind the others for now."""
        horizon = time.monotonic() - _KEEP
        while self._jobs:
            id, job = next(iter(self._jobs.items()))
            if job.answer is None:
                self._jobs.move_to_end(id)
                return
            if job.at > horizon:
                return
            del self._jobs[id]

    async def drain(self) -> None:
        """Let running requests finish, for a while. What does not is for the next process to join or undo,
        as if we had been killed: nobody serves meanwhile, so the while is short."""
        self._leaving = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_DRAIN)
        once = {task for task in self._tasks if not self._repeatable(task.get_name())}
        if once:
            await asyncio.wait(once, timeout=_DRAIN_ONCE)
        for task in self._tasks:
            task.cancel()

    def _repeatable(self, name: str) -> bool:
        return name not in self._verbs or self._verbs[name][0].repeatable


def about(request: Any, meta: codec.Meta) -> tuple[str, dict[str, str]]:
    """What may be told of any request: the id that it is about, who asked, and its plain fields."""
    told = {"caller": meta.sender}
    for name in request.__struct_fields__:
        value = getattr(request, name)
        if name in _IDS:
            continue
        if isinstance(value, str | int) and value and not (isinstance(value, str) and len(value) > _SHORT):
            told[name] = str(value)
    return _id_of(request), told


def _id_of(message: Any) -> str:
    """Of which container, else of which pod, a message is."""
    return next((id for id in (getattr(message, name, "") for name in _IDS) if id and isinstance(id, str)), "")


async def _awaited(work: Awaitable[Any]) -> None:
    await work


def _tell(job: _Job) -> None:
    """Nobody heard the answer: say so, if there is one and if this was not said before."""
    tell, job.unheard = job.unheard, None
    if tell is not None:
        tell()


def _explained(name: str, error: BaseException) -> BaseException:
    """The one cause worth telling: an ExceptionGroup of one task group is its first real error."""
    while isinstance(error, BaseExceptionGroup):
        causes: tuple[BaseException, ...] = error.exceptions
        error = next((cause for cause in causes if isinstance(cause, CribusError)), causes[0])
    if isinstance(error, CribusError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return Aborted(f"{name} was cut short because the service stops; repeat it")
    if isinstance(error, ConnectionError):  # what did the work is gone, a fork server for one
        return Aborted(f"{name} was cut short ({error}); repeat it")
    if (isinstance(error, OSError) and error.errno in _SCARCE) or "new thread" in str(error):
        reason = error.strerror if isinstance(error, OSError) else error
        return ResourceExhausted(f"{name} failed: {reason}; the host, or this service's cgroup, is short of something")
    _logger.error("request failed", extra={"verb": name}, exc_info=error)
    return Internal(f"{name} failed: {type(error).__name__}: {error}")


@contextlib.asynccontextmanager
async def serve(connection: Connection, tables: Tables) -> AsyncIterator[Server]:
    """While inside, this process answers the verbs of its table, together with its likes."""
    server = Server(connection, tables)
    subscription = await connection.nats.subscribe(
        f"cribus.{connection.node}.{connection.service}.*",
        queue=_queue(connection.service),
        cb=server.on_message,
        pending_msgs_limit=-1,
        pending_bytes_limit=-1,
    )
    await connection.while_up(connection.nats.flush)  # from here on nobody is told that we are not there
    try:
        yield server
    finally:
        await _unlisten(connection, subscription)
        await server.drain()


def _queue(service: str) -> str:
    """The queue group of a service, whose members share the requests: a process that hangs, and is still connected,
    must get none of its successor's."""
    _, generation = pulse.mark()
    return f"{service}.{generation}" if generation else service


async def _unlisten(connection: Connection, subscription: Subscription) -> None:
    """Take no more requests. What was on its way is still taken: thrown away, it would have to be sent
    again, which some verbs do not allow."""
    if not connection.up.is_set():
        return
    try:
        async with asyncio.timeout(_DRAIN):
            await connection.or_down(subscription.drain())  # type: ignore[no-untyped-call]
    except (NatsError, ConnectionError, TimeoutError) as error:
        _logger.info("requests on their way are for the next process", extra={"cause": str(error)})
