"""What a shim answers (api/shim.py), and how its streams travel: the room's one door to the bus."""

import functools
import time
from collections.abc import Callable, Iterable

import msgspec

from cribus.api import shim
from cribus.api.events import Event
from cribus.api.executor import EXEC, STATE, Exec, Named, State
from cribus.api.verb import Empty, Message
from cribus.bus import codec, slim_call, subjects, wire
from cribus.bus.slim import Slim
from cribus.bus.slim_serve import Respond, Server, Table
from cribus.bus.streams import Stream
from cribus.errors import Aborted, CribusError, FailedPrecondition, InvalidArgument, NotFound
from cribus.shim import exits, taken
from cribus.shim.further import FORKING, Done, Yard
from cribus.shim.note import note
from cribus.shim.retire import Desk, Retirement
from cribus.shim.session import STDERR, STDIN, STDOUT, Means
from cribus.shim.sessions import Answer, Sessions
from cribus.shim.taken import Care, Container

_WITNESS = 5.0  # seconds for the executor to say how a container ended
_SHARE = 10  # times as long as a try took at least, until the next
_AGAIN, _SELDOM = 0.2, 10.0  # seconds until what could not be taken over is tried again, doubled from try to try


class Line:
    """One stream's two subjects. Frames of either side that were lost with a connection are repeated."""

    def __init__(self, slim: Slim, id: str, outgoing: list[int], said: Callable[[Means], None]) -> None:
        self._slim = slim
        self._to = subjects.stream(slim.node, id, "c")
        self._said = said
        self._token = f"line-{id}"
        self.stream = Stream(self._send, outgoing, [STDIN])
        self._sid = slim.subscribe(subjects.stream(slim.node, id, "s"), self._on_frame)
        slim.on_up.append(self.stream.reconnected)

    def _send(self, frame: bytes) -> None:
        self._slim.publish(self._to, frame)

    def _on_frame(self, message: wire.Message) -> None:
        try:
            means = self.stream.feed(message.payload)
        except InvalidArgument as error:
            note("a frame that is none", subject=message.subject, cause=error.message)
            return
        self._said(means)

    def again(self) -> None:
        """Repeat what was not acknowledged, and ask for as much; at once, or when the bus is there."""
        if self._slim.up:
            self.stream.reconnected()

    def probe(self, absent: Callable[[], None]) -> None:
        """Send a frame that means nothing; the bus says when nobody listens."""

        def answered(message: wire.Message) -> None:
            if message.status == wire.NO_RESPONDERS:
                absent()

        self._slim.answers[self._token] = answered
        self._slim.publish(self._to, codec.pack(["n"]), self._slim.reply_to(self._token))

    def close(self) -> None:
        self._slim.unsubscribe(self._sid)
        self._slim.on_up.remove(self.stream.reconnected)
        self._slim.answers.pop(self._token, None)


def fork(slim: Slim, wanted: Exec, again: bool, done: Done) -> None:
    """Let the executor make a process; `again` if an earlier shim has asked for it."""
    slim_call.call(slim, EXEC, slim_call.Request(wanted, "", FORKING, wanted.exec_id, again), done)


def tell(slim: Slim, event: Event, done: Callable[[], None]) -> None:
    """Tell the node's event stream, until it has it."""
    slim_call.tell(slim, event, done)


class Shim:
    """The verbs of one pod, over the containers it has taken."""

    def __init__(self, slim: Slim, care: Care, yard: Yard) -> None:
        self._slim = slim
        self._care = care
        self._yard = yard
        self._containers: dict[str, Container] = {}
        self._sids: dict[str, int] = {}
        self._server = Server(slim, self._table())
        self._sessions = Sessions(yard, self._line)
        self._open()

    def _open(self) -> None:
        """Serve the pod and every container."""
        for id in (self._yard.door.pod, *self._containers):
            if id not in self._sids:
                self._sids[id] = self._slim.subscribe(
                    subjects.served(self._slim.node, shim.SERVICE, id), self._server.take
                )

    def _close(self) -> None:
        while self._sids:
            self._slim.unsubscribe(self._sids.popitem()[1])

    def retire(self) -> None:
        """End the process as soon as nobody waits for an answer; streams the next one goes on with."""
        desk = Desk(lambda: bool(self._server.running), self._open, self._close, self._slim.when_taken)
        retirement = Retirement(self._care.loop, desk)
        self._server.on_idle = retirement.look
        retirement.look()

    def _table(self) -> Table:
        return {
            shim.TAKE: self._take,
            shim.RELEASE: self._release,
            shim.EXEC_SYNC: self._exec_sync,
            shim.EXEC: self._exec,
            shim.ATTACH: self._attach,
            shim.REOPEN_LOG: self._reopen_log,
        }

    def continued(self, among: list[str] | None) -> None:
        """Take over what earlier shims of the pod had, of these containers or of all, and go on telling their
        news."""
        remembered = [] if self._care.news.first() else taken.remembered(self._care, self._yard.door.pod, among)
        for take in remembered:
            self._continue(take)
        self._care.news.again()

    def _continue(self, take: shim.Take, seconds: float = _AGAIN, before: str = "") -> None:
        """What hinders may pass: its keeper may not have been told yet where to listen, or nobody has said yet how it
        ended when keeper and shim went together. Nobody else would try again, because the container counts as taken."""
        began = time.monotonic()
        try:
            self._add(take)
        except (CribusError, OSError) as error:
            if isinstance(error, FailedPrecondition):
                if taken.over(self._care, take):
                    return
                self._ask_witness(take)
            if str(error) != before:
                note("container cannot be taken over yet", container=take.container, cause=str(error))
            seconds = max(seconds, _SHARE * (time.monotonic() - began))  # others wait as long as a try takes
            self._care.loop.later(seconds, functools.partial(self._look_again, take.container, seconds, str(error)))

    def _ask_witness(self, take: shim.Take) -> None:
        """The executor writes down what it has seen, and that is looked at the next time; if it has seen nothing, its
        word is the last."""

        def answered(state: State | None, _: CribusError | None) -> None:
            unseen = state is not None and state.status == "stopped" and not state.exit_known
            of_this = state is not None and exits.same(state.pid, take.pid)  # not of a start that was made again
            if unseen and of_this and take.container not in self._containers:
                taken.unseen(self._care, take)

        slim_call.call(self._slim, STATE, slim_call.Request(Named(container=take.container), "", _WITNESS), answered)

    def _look_again(self, id: str, seconds: float, before: str) -> None:
        """Unless it was taken meanwhile, as it may have been started anew, or has gone."""
        for take in taken.remembered(self._care, self._yard.door.pod, [id]) if id not in self._containers else []:
            self._continue(take, min(2 * seconds, _SELDOM), before)

    def _add(self, take: shim.Take) -> None:
        if not take.pid:  # of a manager that does not know it, or of an earlier version
            take = msgspec.structs.replace(take, pid=exits.tried(self._care.folder(take.container)))
        known = self._containers.get(take.container)
        if known is not None and known.serves(take):
            return
        taken.check(self._care, take)
        if known is not None:  # its start was made again, and no shim could be told to let go of the first try
            self._forget(known)
        self._containers[take.container] = taken.take(self._care, take)
        self._sessions.again(self._containers[take.container], lambda id: _answer(self._server.expect(id)))
        self._open()

    def _known(self, id: str) -> Container:
        if id not in self._containers:
            raise NotFound(f"this pod's shim has no container {id}")
        return self._containers[id]

    def _alive(self, id: str) -> Container:
        container = self._known(id)
        if container.exit is not None or container.dying():
            raise FailedPrecondition(f"container {id} is not running: it has exited")
        return container

    def _take(self, request: shim.Take, respond: Respond) -> None:
        if request.pod != self._yard.door.pod:
            raise InvalidArgument(f"container {request.container} belongs to pod {request.pod}, not to this one")
        self._add(request)
        respond(Empty())

    def _release(self, request: shim.Named, respond: Respond) -> None:
        """At once for one that runs; a dead one first has its exit taken down."""
        container = self._containers.get(request.container)
        if container is None:
            respond(Empty())
            return

        def go() -> None:
            if self._containers.get(container.id) is container:
                self._forget(container)
            respond(Empty())

        if container.dying():
            container.when_ended(go)
        else:
            go()

    def _forget(self, container: Container) -> None:
        del self._containers[container.id]
        self._slim.unsubscribe(self._sids.pop(container.id, 0))
        container.release()

    def _reopen_log(self, request: shim.Named, respond: Respond) -> None:
        self._alive(request.container).reopen_log()
        respond(Empty())

    def _fresh(self, id: str, respond: Respond) -> Container:
        """For a command that no earlier shim has begun: of such a one the keeper would know."""
        container = self._alive(id)
        if respond.again and container.rescued:
            raise Aborted("shim and keeper died together while they may have run this command; look before repeating")
        return container

    def _exec_sync(self, request: shim.ExecSync, respond: Respond) -> None:
        container = self._fresh(request.container, respond)
        _command(request.cmd)
        self._sessions.sync(container, request, _answer(respond))

    def _exec(self, request: shim.OpenExec, respond: Respond) -> None:
        container = self._fresh(request.container, respond)
        _command(request.cmd)
        self._sessions.exec(container, request, _answer(respond))

    def _attach(self, request: shim.OpenAttach, respond: Respond) -> None:
        """Who wants all of the output gets it also when the container has exited already."""
        container = self._known(request.container) if request.whole else self._alive(request.container)
        self._sessions.attach(container, request, _answer(respond))

    def _line(self, stream: str, outgoing: list[int], said: Callable[[Means], None]) -> Line:
        return Line(self._slim, stream, outgoing, said)


def _answer(respond: Respond) -> Answer:
    return Answer(respond.request, respond, respond.when_settled)


def _command(args: list[str]) -> None:
    if not args:
        raise InvalidArgument("a command is needed")


def rehearse(samples: Iterable[Message]) -> None:
    """What messages go through on the bus, without one (warm.py)."""
    for sample in samples:
        _, body = codec.unpack_request(codec.pack_request(codec.Meta(id="i", deadline=1, sender="s"), sample))
        codec.to_message(type(sample), body)
        for part in codec.pack_reply(sample):
            codec.result(type(sample), codec.Answer().feed(part) or {})
    said = wire.hpub("s", {"k": "v"}, wire.pub("s", wire.connect("n", "u", "p"), "r"), "r")
    list(wire.Parser().feed(b'INFO {"headers":true}\r\nMSG s 1 r %d\r\n%b\r\nPING\r\n' % (len(said), said)))
    Stream(lambda frame: None, [STDOUT, STDERR], [STDIN]).feed(codec.pack(["d", STDIN, 0, b"x"]))
