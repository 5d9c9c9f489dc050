"""Asking over the slim client, by callbacks: the same rules as `client`, and events to the stream."""

import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from cribus.api.events import Event
from cribus.api.verb import A, Message, Q, Verb
from cribus.bus import codec, subjects, wire
from cribus.bus.slim import RETRY, Slim, Timer
from cribus.errors import CribusError, DeadlineExceeded, Unavailable

RESEND = 0.5  # seconds without an answer after which a request is sent again
PATIENCE = 5.0  # seconds for which "not there" is taken for a restart
TOLD_AGAIN = 0.5  # seconds after which an event that is not acknowledged is sent again

Done = Callable[[A | None, CribusError | None], None]


class Request(NamedTuple):
    """What is asked of whom (`id`, or "") within `timeout` seconds; under which name, or "" for a new one,
    and whether an earlier process has asked it under that name already."""

    message: Message
    id: str
    timeout: float
    name: str = ""
    again: bool = False


class _Asking:
    """One call in flight: sent again until it is answered."""

    def __init__(self, slim: Slim, verb: Verb[Any, Any], request: Request, done: Done[Any]) -> None:
        self._slim = slim
        self._verb = verb
        self._subject = subjects.verb(slim.node, verb, request.id)
        self._done = done
        self._answer = codec.Answer()
        until, deadline = codec.within(request.timeout)
        self._meta = codec.Meta(
            id=request.name or os.urandom(16).hex(),
            n=2 if request.again else 1,
            sender=slim.place.service,
            until=until,
            deadline=deadline,
        )
        self._end = time.monotonic() + request.timeout
        self._patience = time.monotonic() + PATIENCE
        self._timer: Timer | None = None
        self._message = request.message
        self._sent = False  # and nobody said that there is nobody

    def start(self) -> None:
        self._slim.answers[self._meta.id] = self._feed
        self._slim.on_up.append(self._back)
        self._send()

    def _send(self) -> None:
        data = codec.pack_request(self._meta, self._message)
        self._sent = self._slim.publish(self._subject, data, self._slim.reply_to(self._meta.id))
        self._wait(RESEND if self._sent else RETRY, self._unanswered if self._sent else self._nobody)

    def _back(self) -> None:
        """The bus was away, and with it the answer may be. Who knows it may not be there for much longer."""
        if self._sent:
            self._unanswered()
        else:
            self._send()

    def _wait(self, seconds: float, callback: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._slim.loop.later(seconds, callback)

    def _unanswered(self) -> None:
        """It was sent and may run: ask again, which joins it."""
        self._meta.n += 1
        self._patience = time.monotonic() + PATIENCE
        if time.monotonic() < self._end:
            self._send()
        else:
            self._finish(None, DeadlineExceeded(f"{self._name()} gave no answer in time; it may still happen"))

    def _nobody(self) -> None:
        """Nothing was sent, or nobody was there to take it."""
        if time.monotonic() < min(self._patience, self._end):
            self._send()
        elif self._meta.n > 1:
            self._finish(None, DeadlineExceeded(f"{self._name()}: its service went away; it may or may not be done"))
        else:
            self._finish(None, Unavailable(f"nobody serves {self._name()}; `cribus status` shows what runs"))

    def _feed(self, message: wire.Message) -> None:
        if message.status == wire.NO_RESPONDERS:
            self._sent = False
            self._wait(RETRY, self._nobody)
            return
        whole = self._answer.feed(message.payload)
        if whole is None or not codec.counts(self._verb, whole):
            return
        try:
            result = codec.result(self._verb.answer, whole)
        except CribusError as error:
            self._finish(None, error)
        else:
            self._finish(result, None)

    def _finish(self, answer: Any, error: CribusError | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        del self._slim.answers[self._meta.id]
        self._slim.on_up.remove(self._back)
        self._done(answer, error)

    def _name(self) -> str:
        return f"{self._verb.service}.{self._verb.name}"


def call(slim: Slim, verb: Verb[Q, A], request: Request, done: Done[A]) -> None:
    """Ask. `done` gets the answer or the error, later."""
    _Asking(slim, verb, request, done).start()


class _Telling:
    """One event on its way into the stream."""

    def __init__(self, slim: Slim, event: Event, done: Callable[[], None]) -> None:
        self._slim = slim
        self._subject = subjects.event(slim.node, event.kind, event.id)
        self._headers = {"Nats-Msg-Id": f"{event.kind}.{event.id}.{event.at}"}
        self._payload = codec.pack_message(event)
        self._token = os.urandom(16).hex()
        self._done = done
        self._timer: Timer | None = None

    def send(self) -> None:
        self._slim.answers[self._token] = self._feed
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._slim.loop.later(TOLD_AGAIN, self.send)
        self._slim.publish(self._subject, self._payload, self._slim.reply_to(self._token), self._headers)

    def _feed(self, message: wire.Message) -> None:
        # anything but {"stream": …, "seq": …} is a refusal: the stream is not there yet, the disk is full
        if message.status or b'"seq"' not in message.payload or b'"error"' in message.payload:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._slim.answers.pop(self._token, None)
        self._done()


def tell(slim: Slim, event: Event, done: Callable[[], None]) -> None:
    """Publish an event, again and again until the stream has it; `done` then. Repeats are dropped there."""
    telling = _Telling(slim, event, done)
    if slim.up:
        telling.send()
    else:
        _when_up(slim, telling.send)


def _when_up(slim: Slim, callback: Callable[[], None]) -> None:
    def once() -> None:
        slim.on_up.remove(once)
        callback()

    slim.on_up.append(once)
