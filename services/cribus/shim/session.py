"""One exec or attach stream as the shim sees it: what both have in common.

`verbs` opens it on the bus; here it is a pair of subjects that frames come from and go to.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from cribus.shim import memo
from cribus.shim.inlet import Inlet
from cribus.shim.keepers import Locker
from cribus.shim.kept import Kept
from cribus.shim.loop import Loop, Timer

STDIN, STDOUT, STDERR = 0, 1, 2
_LINGER = 30.0  # seconds for which the end is repeated to a client that has not said good-bye
_PROBE = 5.0  # seconds between looks whether the client is still there
_MISSES = 3  # looks in vain that mean it is not


class Sender(Protocol):
    """bus/streams.py, outgoing half."""

    @property
    def acked(self) -> int: ...
    def room(self) -> int: ...
    def write(self, data: bytes | memoryview) -> int: ...
    def push(self) -> None: ...
    def end(self) -> None: ...


class Receiver(Protocol):
    def done(self, count: int) -> None: ...


class Stream(Protocol):
    """bus/streams.py, both halves."""

    @property
    def outgoing(self) -> Mapping[int, Sender]: ...
    @property
    def incoming(self) -> Mapping[int, Receiver]: ...
    def keep(self, channel: int, kept: Kept, acked: int) -> None: ...
    def go_on(self, channel: int, got: int) -> None: ...
    def exit(self, code: int, message: str = "") -> None: ...


class Line(Protocol):
    """A stream on the bus. `probe` asks whether the client still listens; `absent` is called if not."""

    @property
    def stream(self) -> Stream: ...
    def probe(self, absent: Callable[[], None]) -> None: ...
    def again(self) -> None: ...
    def close(self) -> None: ...


Means = tuple[Any, ...]  # what Stream.feed answers
Open = Callable[[str, list[int], Callable[[Means], None]], Line]  # (stream id, outgoing channels, what is said)


class User(Protocol):
    """What an exec or attach does about its client's words."""

    def acked(self, channel: int) -> None: ...
    def resize(self, width: int, height: int) -> None: ...
    def stdin_ended(self) -> None: ...
    def gone(self) -> None: ...


class Session:
    """`stdin` is where the client's input goes; None drops it. What it is made of is in `locker`."""

    def __init__(self, loop: Loop, user: User, locker: Locker) -> None:
        self.stdin: Inlet | None = None
        self._loop = loop
        self._user: User | None = user
        self._locker = locker
        self._line: Line | None = None
        self._timer: Timer | None = None
        self._misses = 0
        self._ending = False

    def open(self, opened: Line) -> Stream:
        self._line = opened
        self._timer = self._loop.later(_PROBE, self._probe)
        return opened.stream

    def keep(self, channel: int, kept: Kept) -> Sender:
        """From now on what goes to the client on this channel is kept there."""
        assert self._line is not None
        self._line.stream.keep(channel, kept, self._locker.notes[memo.ACKED[channel]])
        return self._line.stream.outgoing[channel]

    def take(self, stdin: Inlet | None) -> None:
        """From now on the client's input goes there, after what has entered already."""
        assert self._line is not None
        entered = stdin.recover() if stdin is not None else self._locker.notes[memo.ENTERED]
        self._line.stream.go_on(STDIN, entered)
        self.stdin = stdin
        if stdin is not None:
            stdin.took = self._line.stream.incoming[STDIN].done
            stdin.go()

    def again(self) -> None:
        """An earlier shim had this client: say what it may have missed, and ask for what we have missed."""
        assert self._line is not None
        self._line.again()

    def said(self, means: Means) -> None:
        """One frame of the client, as Stream.feed understood it."""
        self._misses = 0
        user = self._user
        if means[0] == "gone":
            self._leave()
        elif user is None or self._line is None:
            return
        elif means[0] == "acked":
            self._locker.notes[memo.ACKED[means[1]]] = self._line.stream.outgoing[means[1]].acked
            user.acked(means[1])
        elif means[0] == "data":
            self._input(self._line, means[2])
        elif means[0] == "end":
            user.stdin_ended()
        elif means[0] == "resize":
            user.resize(means[1], means[2])

    def _input(self, line: Line, data: bytes) -> None:
        if self.stdin is None:
            self._locker.notes[memo.ENTERED] += len(data)
            line.stream.incoming[STDIN].done(len(data))
        else:
            self.stdin.write(data)

    def _leave(self) -> None:
        user = self._user
        self.close()
        if user is not None:
            user.gone()
        elif self._ending:
            self.free()

    def _probe(self) -> None:
        assert self._line is not None
        self._timer = self._loop.later(_PROBE, self._probe)
        self._line.probe(self._absent)

    def _absent(self) -> None:
        self._misses += 1
        if self._misses >= _MISSES or self._ending:
            self._leave()

    def exit(self, code: int, message: str = "") -> None:
        """The last word; the session is over when the client has left, or is not there."""
        if self._line is None:
            return
        self._user = None
        self._ending = True
        self._line.stream.exit(code, message)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.later(_LINGER, self._leave)

    def close(self) -> None:
        """No more words with the client. Idempotent."""
        self._user = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._line is not None:
            self._line.close()
            self._line = None

    def free(self) -> None:
        """Nothing of it is needed any more. Idempotent."""
        self.close()
        self._locker.close_all()
