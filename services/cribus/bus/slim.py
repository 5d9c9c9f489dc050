"""A small synchronous client of the bus for a process with a poll loop: the shim.

It reconnects at once and for ever, and restores its subscriptions. Nothing is kept while the bus is
away: what cannot be sent now is not sent, and the caller is told so. Asking and serving are in
`slim_call` and `slim_serve`.
"""

import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from cribus.bus import subjects, wire
from cribus.errors import InvalidArgument

READ, WRITE = 1, 4  # epoll's own numbers
RETRY = 0.02  # seconds between attempts while the bus is away …
RETRY_LATER = 0.25  # … and when it has been away for long
_SOON = 250  # attempts that count as "just gone"
_CONNECT = 1.0  # seconds that one attempt may take
_PING = 5.0
_MOST_PINGS = 2  # unanswered ones that mean the peer is dead
_MOST_UNSENT = 16 << 20  # bytes the peer may leave unread before it counts as dead

Take = Callable[[wire.Message], None]


class Timer(Protocol):
    def cancel(self) -> None: ...


class Loop(Protocol):
    """What the client needs of its process (shim/loop.py)."""

    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None: ...
    def forget(self, fd: int) -> None: ...
    def later(self, seconds: float, callback: Callable[[], None]) -> Timer: ...


class Place(msgspec.Struct, frozen=True):
    """Where the bus is, and as whom to speak there. `credentials` is the path of a JSON file with
    user and password; empty for a bus that wants none. It is read again for every connection."""

    url: str  # nats://host:port[,nats://host:port…]
    node: str
    service: str
    credentials: str = ""


class Slim:
    """One connection. `answers` maps a token to what takes the messages sent to `reply_to(token)`."""

    def __init__(self, loop: Loop, place: Place, complain: Callable[[str], None]) -> None:
        self.loop = loop
        self.place = place
        self.node = place.node
        self.up = False
        self.on_up: list[Callable[[], None]] = []
        self.answers: dict[str, Take] = {}
        self._complain = complain
        self._addresses = _addresses(place.url)
        self._subscriptions: dict[int, tuple[str, Take]] = {}
        self._last_sid = 0
        self._attempts = 0
        self._sock: socket.socket | None = None
        self._parser = wire.Parser()
        self._out = bytearray()
        self._timer: Timer | None = None
        self._pings = 0
        self._introduced = False  # what is sent from now on arrives
        self._pongs: deque[Callable[[], None]] = deque()  # one a PING: what its answer means
        self._waiting: list[Callable[[], None]] = []  # for the next introduction's answer
        self._inbox = f"{subjects.inbox(place.service)}.{os.urandom(16).hex()}"
        self.subscribe(f"{self._inbox}.*", self._on_answer)

    def reply_to(self, token: str) -> str:
        return f"{self._inbox}.{token}"

    def _on_answer(self, message: wire.Message) -> None:
        take = self.answers.get(message.subject.rpartition(".")[2])
        if take is not None:
            take(message)

    def subscribe(self, subject: str, take: Take) -> int:
        """From now on, through every reconnect; the number is for `unsubscribe`."""
        self._last_sid += 1
        self._subscriptions[self._last_sid] = (subject, take)
        if self._introduced:
            self._write(wire.sub(subject, self._last_sid))
        return self._last_sid

    def unsubscribe(self, sid: int) -> None:
        """Idempotent."""
        if self._subscriptions.pop(sid, None) is not None and self._introduced:
            self._write(wire.unsub(sid))

    def publish(self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None) -> bool:
        """Send now or not at all: False while the bus is away."""
        if not self.up:
            return False
        if headers:
            self._write(wire.hpub(subject, headers, payload, reply))
        else:
            self._write(wire.pub(subject, payload, reply))
        return self.up

    def when_taken(self, callback: Callable[[], None]) -> None:
        """Call back once the server has taken everything that was sent so far, or all that was
        subscribed, after it has been away."""
        if self._introduced:
            self._pongs.append(callback)
            self._write(wire.PING)
        else:
            self._waiting.append(callback)

    # The connection

    def open(self) -> None:
        """Begin to connect; `on_up` callbacks tell when it is so."""
        address = self._addresses[self._attempts % len(self._addresses)]
        self._attempts += 1
        try:
            family, kind, protocol, _, where = _resolved(*address)
            self._sock = socket.socket(family, kind, protocol)
            self._sock.setblocking(False)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sock.connect_ex(where)
        except OSError as error:
            self._lost(f"{address[0]}:{address[1]}: {error}")
            return
        self._parser = wire.Parser()
        self._out.clear()
        self._pings = 0
        self._waiting += [callback for callback in self._pongs if callback is not _nobody_waits]
        self._pongs.clear()
        self.loop.watch(self._sock.fileno(), WRITE, self._on_connected)
        self._again(_CONNECT, lambda: self._lost("no answer to the attempt to connect"))

    def close(self) -> None:
        """For good."""
        self._drop()
        self._again(0.0, None)

    def _again(self, seconds: float, callback: Callable[[], None] | None) -> None:
        """The one timer of the connection: its present deadline."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.later(seconds, callback) if callback else None

    def _drop(self) -> None:
        self.up = self._introduced = False
        if self._sock is not None:
            self.loop.forget(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def _lost(self, why: str) -> None:
        if self.up:
            self._complain(f"bus went away: {why}")
            self._attempts = 0
        self._drop()
        if self._attempts == 0:
            self.open()
        else:
            self._again(RETRY if self._attempts < _SOON else RETRY_LATER, self.open)

    def _on_connected(self, _: int) -> None:
        assert self._sock is not None
        failure = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            self._lost(f"connect: error {failure}")
            return
        self.loop.watch(self._sock.fileno(), READ, self._on_ready)

    def _on_ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & ~WRITE and self._sock is not None:
            self._read()

    def _read(self) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(str(error))
            return
        if not data:
            self._lost("closed by the server")
            return
        sock = self._sock
        try:
            for event in self._parser.feed(data):
                self._on_event(event)
                if self._sock is not sock:
                    return
        except InvalidArgument as error:
            self._lost(error.message)

    def _on_event(self, event: wire.Event) -> None:
        if isinstance(event, wire.Message):
            self._is_up()
            known = self._subscriptions.get(event.sid)
            if known is not None:
                known[1](event)
        elif isinstance(event, wire.Ping):
            self._write(wire.PONG)
        elif isinstance(event, wire.Pong):
            self._pings = 0
            self._is_up()
            self._pongs.popleft()()
        elif isinstance(event, wire.Info):
            if not self._introduced:
                self._introduce(event)
        else:
            self._complain(f"bus: {event.text}")

    def _introduce(self, info: wire.Info) -> None:
        if info.options.get("tls_required"):
            self._lost("the bus wants TLS, which a shim does not speak; give the node a leaf server of its own")
            return
        user, password = _credentials(self.place.credentials)
        waiting, self._waiting = self._waiting, []

        def taken() -> None:
            for callback in waiting:
                callback()

        self._pongs.append(taken)
        subs = b"".join(wire.sub(subject, sid) for sid, (subject, _) in self._subscriptions.items())
        self._introduced = True
        self._write(wire.connect(f"cribus-{self.place.service}", user, password) + subs + wire.PING)

    def _is_up(self) -> None:
        if self.up:
            return
        self.up = True
        self._attempts = 0
        self._again(_PING, self._ping)
        for callback in list(self.on_up):
            callback()

    def _ping(self) -> None:
        self._pings += 1
        if self._pings > _MOST_PINGS:
            self._lost("no answer to pings")
            return
        self._again(_PING, self._ping)
        self._pongs.append(_nobody_waits)
        self._write(wire.PING)

    def _write(self, data: bytes) -> None:
        if self._sock is None:
            return
        if self._out:
            self._out += data
            if len(self._out) > _MOST_UNSENT:
                self._lost("it does not read what it is sent")
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lost(str(error))
            return
        if sent < len(data):
            self._out += data[sent:]
            self.loop.watch(self._sock.fileno(), READ | WRITE, self._on_ready)

    def _flush(self) -> None:
        assert self._sock is not None
        try:
            sent = self._sock.send(self._out)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(str(error))
            return
        del self._out[:sent]
        if not self._out:
            self.loop.watch(self._sock.fileno(), READ, self._on_ready)


def _nobody_waits() -> None:
    """Of a PING that only asks whether the server lives."""


def _resolved(host: str, port: int) -> tuple[int, int, int, str, Any]:
    """As getaddrinfo. A literal address asks no resolver (1 ms); a name as str instead of bytes would
    load the codec of international names (half a megabyte)."""
    name = host.encode()
    try:
        return socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0]
    except socket.gaierror:
        return socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]


def _addresses(url: str) -> list[tuple[str, int]]:
    """By hand: urllib.parse costs each shim 200 KiB."""
    found = []
    for one in url.split(","):
        scheme, _, place = one.strip().rpartition("://")
        host, _, port = place.rstrip("/").rpartition(":")
        if scheme not in ("", "nats") or "@" in place or not host or not port.isdigit():
            raise InvalidArgument(f"bus url {one!r}: a shim needs nats://host:port")
        found.append((host.strip("[]"), int(port)))
    return found


def _credentials(path: str) -> tuple[str, str]:
    if not path:
        return "", ""
    with open(path, "rb") as file:
        known = msgspec.json.decode(file.read(), type=dict[str, str])
    return known["user"], known["password"]
