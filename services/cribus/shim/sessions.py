"""Exec and attach sessions: begun, written down in the container's keeper, and gone on with by the next shim.

A session is written down before anything of it is begun. So one that an asked-again request does not
find here was never begun, and can be begun.
"""

from collections.abc import Callable

import msgspec

from cribus.api import shim
from cribus.api.verb import Message
from cribus.errors import CribusError
from cribus.shim import keepers, memo
from cribus.shim.attach import Attach
from cribus.shim.ends import Kind
from cribus.shim.exec import Streamed, Sync
from cribus.shim.further import Yard
from cribus.shim.keepers import Locker
from cribus.shim.kept import Kept
from cribus.shim.kept import new as new_kept
from cribus.shim.note import note
from cribus.shim.session import STDERR, STDOUT, Open, Session
from cribus.shim.taken import Container
from cribus.steps import Step

Respond = Callable[[Message | CribusError], None]
_ATTACHED = Step("shim.attach.begun")
_AGAIN = Step("shim.session.again")


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a session's memo says: the request that is answered, and one of the three."""

    request: str
    sync: shim.ExecSync | None = None
    exec: shim.OpenExec | None = None
    attach: shim.OpenAttach | None = None


class Answer:
    """To one request: by whom it is asked again, how to answer, and what is to be done once that has arrived."""

    def __init__(self, request: str, respond: Respond, settled: Callable[[Callable[[], None]], None]) -> None:
        self.request = request
        self.respond = respond
        self.settled = settled


class Sessions:
    """Of all containers of a pod. `lines` opens streams on the bus."""

    def __init__(self, yard: Yard, lines: Open) -> None:
        self._yard = yard
        self._lines = lines

    def sync(self, container: Container, request: shim.ExecSync, answer: Answer) -> None:
        locker = keepers.locker(container.keeper, _text(Asked(request=answer.request, sync=request)))
        self._sync(locker, answer).start(container.id, request.cmd, request.timeout)

    def _sync(self, locker: Locker, answer: Answer) -> Sync:
        one = Sync(self._yard, locker, answer.respond)
        answer.settled(one.settled)
        return one

    def exec(self, container: Container, request: shim.OpenExec, answer: Answer) -> None:
        locker = keepers.locker(container.keeper, _text(Asked(request=answer.request, exec=request)))
        self._exec(locker, request, answer).process.start(container.id, request.cmd)

    def _exec(self, locker: Locker, request: shim.OpenExec, answer: Answer) -> Streamed:
        outputs = channels(request, request.tty)
        kind = Kind(outputs, tty=request.tty, stdin=request.stdin)
        one = Streamed(self._yard, kind, locker)
        stream = one.session.open(self._lines(request.stream, outputs, one.session.said))
        opened = shim.StreamOpened(tty=request.tty)
        one.begin(stream, lambda error: answer.respond(error or opened))
        return one

    def attach(self, container: Container, request: shim.OpenAttach, answer: Answer) -> None:
        locker = keepers.locker(container.keeper, _text(Asked(request=answer.request, attach=request)))
        for channel in self._followed(container, request):
            locker.add({f"kept-{channel}": new_kept()})
        self._attach(container, locker, request, again=False)
        answer.respond(shim.StreamOpened(tty=container.terminal >= 0))

    def _followed(self, container: Container, request: shim.OpenAttach) -> list[int]:
        wanted = channels(request, container.terminal >= 0)
        return [channel for channel in container.pumps if channel in wanted]

    def _attach(self, container: Container, locker: Locker, request: shim.OpenAttach, *, again: bool) -> None:
        stdin = container.inlet(locker) if request.stdin and container.exit is None else None
        one = Attach(container, stdin)
        session = one.session = Session(self._yard.loop, one, locker)
        outputs = channels(request, container.terminal >= 0)
        stream = session.open(self._lines(request.stream, outputs, session.said))
        followers = {}
        for channel in self._followed(container, request):
            kept = Kept(locker.fds[f"kept-{channel}"])
            sender = session.keep(channel, kept)
            if again:
                followers[channel] = container.follower_again(locker, channel, sender, kept.size)
            else:
                followers[channel] = container.follower(locker, channel, sender, whole=request.whole)
        for channel, sender in stream.outgoing.items():
            if channel not in followers:
                sender.end()
        session.take(stdin)
        with _ATTACHED.of(container.id):
            locker.send()
        one.begin(followers)
        if again:
            session.again()
        if container.exit is not None:
            one.ended(container.exit.code)

    def again(self, container: Container, expect: Callable[[str], Answer]) -> None:
        """Go on with all that an earlier shim had going in this container; `expect` is told which requests
        may be asked again."""
        found, container.sessions = container.sessions, {}
        for id, fds in found.items():
            try:
                with _AGAIN.of(container.id):
                    self._again(container, Locker(container.keeper, id, fds), expect)
            except (KeyError, OSError, ValueError, msgspec.DecodeError) as error:
                note("a session cannot go on", container=container.id, session=id, cause=repr(error))

    def _again(self, container: Container, locker: Locker, expect: Callable[[str], Answer]) -> None:
        asked = msgspec.json.decode(locker.notes.text, type=Asked)
        begun = locker.notes[memo.PHASE] != memo.ASKED
        answer = expect(asked.request)
        if asked.sync is not None:
            one = self._sync(locker if begun else _anew(container, locker), answer)
            (one.go_on if begun else one.start)(container.id, asked.sync.cmd, asked.sync.timeout)
        elif asked.exec is not None:
            self._exec_again(container, locker if begun else _anew(container, locker), asked.exec, answer)
        elif asked.attach is not None:
            self._attach(container, locker, asked.attach, again=True)
            answer.respond(shim.StreamOpened(tty=container.terminal >= 0))

    def _exec_again(self, container: Container, locker: Locker, request: shim.OpenExec, answer: Answer) -> None:
        phase = locker.notes[memo.PHASE]
        one = self._exec(locker, request, answer)
        if phase == memo.ASKED:
            one.process.start(container.id, request.cmd)
        elif phase == memo.LEFT:
            one.gone()
        else:
            one.process.go_on(container.id, request.cmd)
        if phase != memo.LEFT:
            one.session.again()


def _anew(container: Container, locker: Locker) -> Locker:
    """One in which nothing was begun, in place of one that somebody may still hear of."""
    text = locker.notes.text
    fresh = keepers.locker(container.keeper, text)
    fresh.notes[memo.DEADLINE] = locker.notes[memo.DEADLINE]
    locker.close_all()
    return fresh


def channels(request: shim.OpenExec | shim.OpenAttach, tty: bool) -> list[int]:
    """The outgoing channels that a client asks for."""
    wanted = [(STDOUT, request.stdout), (STDERR, request.stderr and not tty)]
    return [channel for channel, asked in wanted if asked]


def _text(asked: Asked) -> bytes:
    return msgspec.json.encode(asked)
