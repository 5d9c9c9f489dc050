"""Answering over the slim client, by callbacks: the same rules as `server`.

A request that is known by its id is never run twice: while it runs a repeat waits for the same
result, afterwards it gets the same answer again. Deadlines are checked before anything is done.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from cribus.api.verb import Message, Verb
from cribus.bus import codec, wire
from cribus.bus.slim import Slim, Timer
from cribus.errors import CribusError, DeadlineExceeded, Unimplemented

_KEEP = 30.0  # seconds for which an answer is kept for a repeat
_MOST_KEPT = 4 << 20  # bytes of answers: beyond it all but the last are forgotten, oldest first


class Respond:
    """To be called with the result of one request, once, now or later.

    A request is known by `request`, its id; `again` if it was sent before, here or to an earlier process.
    What is given to `when_settled` is called once the answer has reached the bus, or can no longer be
    asked for.
    """

    def __init__(self, request: str, answer: Callable[["Respond", Message | CribusError], None]) -> None:
        self.request = request
        self.again = False
        self._answer = answer
        self._settled: Callable[[], None] | None = None

    def __call__(self, result: Message | CribusError) -> None:
        self._answer(self, result)

    def when_settled(self, callback: Callable[[], None]) -> None:
        self._settled = callback

    @property
    def unsettled(self) -> bool:
        return self._settled is not None

    def settle(self) -> None:
        """Idempotent."""
        settled, self._settled = self._settled, None
        if settled is not None:
            settled()


Handler = Callable[[Any, Respond], None]
Table = Mapping[Verb[Any, Any], Handler]


class _Job:
    """One request id: who waits for it, and its answer once there is one."""

    __slots__ = ("answer", "at", "replies", "respond")

    def __init__(self, respond: Respond) -> None:
        self.respond = respond
        self.replies: set[str] = set()
        self.answer: list[bytes] | None = None
        self.at = 0.0


class Server:
    """Serves a table to whoever asks on the subjects that were added. A handler gets the message and
    `respond`; a CribusError that it raises is its answer too. Whatever must not be done twice is to be
    written down by its handler under the request's id, and expected by the next process."""

    def __init__(self, slim: Slim, table: Table) -> None:
        self._slim = slim
        self._verbs = {verb.name: (verb, handler) for verb, handler in table.items()}
        self._jobs: OrderedDict[str, _Job] = OrderedDict()
        self._kept = 0  # bytes of answers
        self._timer: Timer | None = None
        self.running = 0  # requests that are not answered yet
        self.on_idle: Callable[[], None] | None = None  # called when the last of them is

    def take(self, message: wire.Message) -> None:
        """One request, as a subscription brings it."""
        try:
            meta, body = codec.unpack_request(message.payload)
            codec.refuse_stale(meta)
        except CribusError as error:
            self._answer(message.reply, codec.pack_error(error))
            return
        known = self._jobs.get(meta.id)
        if known is None:
            respond = self.expect(meta.id)
            respond.again = meta.n > 1
            self._jobs[meta.id].replies.add(message.reply)
            self._run(message.subject.split(".")[3], meta, body, respond)
        elif known.answer is None:
            known.replies.add(message.reply)
        else:
            self._tell(known, {message.reply})

    def expect(self, id: str) -> Respond:
        """Let who asks under this id wait for what is answered here: an earlier process has begun it."""
        respond = Respond(id, self._finish)
        self._jobs[id] = _Job(respond)
        self.running += 1
        return respond

    def _run(self, name: str, meta: codec.Meta, body: Any, respond: Respond) -> None:
        try:
            if name not in self._verbs:
                raise Unimplemented(f"{self._slim.place.service} does not know the verb {name}; it may be older")
            verb, handler = self._verbs[name]
            if meta.late:
                raise DeadlineExceeded(f"{name} arrived after its deadline and was not run")
            handler(codec.to_message(verb.request, body), respond)
        except CribusError as error:
            respond(error)

    def _finish(self, respond: Respond, result: Message | CribusError) -> None:
        job = self._jobs[respond.request]
        job.at = time.monotonic()
        job.answer = codec.pack_error(result) if isinstance(result, CribusError) else codec.pack_reply(result)
        self._tell(job, job.replies)
        self.running -= 1
        if self.on_idle is not None and not self.running:
            self._slim.loop.later(0.0, self.on_idle)
        self._jobs.move_to_end(respond.request)  # oldest answer first
        self._kept += sum(map(len, job.answer))
        self._forget_old()
        if self._timer is None:
            self._timer = self._slim.loop.later(_KEEP, self._on_time)

    def _tell(self, job: _Job, replies: set[str]) -> None:
        """Answer, and hear when the bus has it. Whom nobody asked for yet is asked for again, or never."""
        for reply in replies:
            self._answer(reply, job.answer or [])
        if replies and self._slim.up and job.respond.unsettled:
            self._slim.when_taken(job.respond.settle)

    def _answer(self, reply: str, payloads: list[bytes]) -> None:
        """While the bus is away the answer waits in its job for the caller's repeat."""
        if reply:
            for payload in payloads:
                self._slim.publish(reply, payload)

    def _forget_old(self) -> None:
        """Drop answers that are old, and the oldest when there is too much of them."""
        horizon = time.monotonic() - _KEEP
        running = 0
        while len(self._jobs) > running:
            id, job = next(iter(self._jobs.items()))
            if job.answer is None:
                self._jobs.move_to_end(id)
                running += 1
                continue
            last = len(self._jobs) == running + 1
            if job.at > horizon and (last or self._kept < _MOST_KEPT):
                return
            self._kept -= sum(map(len, job.answer))
            del self._jobs[id]
            job.respond.settle()

    def _on_time(self) -> None:
        self._timer = None
        self._forget_old()
        if self._jobs:
            self._timer = self._slim.loop.later(_KEEP, self._on_time)
