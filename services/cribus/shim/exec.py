"""Exec, both kinds: `Sync` collects a process's output, `Streamed` gives it to a client as it comes."""

import time
from collections.abc import Callable

from cribus.api.shim import ExecSyncDone
from cribus.errors import Cancelled, CribusError, DeadlineExceeded
from cribus.shim import memo
from cribus.shim.ends import Kind
from cribus.shim.further import BLOCK, Process, Yard
from cribus.shim.keepers import Locker
from cribus.shim.loop import Timer
from cribus.shim.session import STDERR, STDOUT, Sender, Session, Stream

OUTPUT_LIMIT = 16 << 20  # bytes of each stream that ExecSync keeps, as containerd does


class Sync:
    """ExecSync: the whole output, at most OUTPUT_LIMIT of each stream, or DeadlineExceeded.

    Its locker is closed when the process has ended and `settled` said that the answer has arrived.
    """

    def __init__(self, yard: Yard, locker: Locker, respond: Callable[[ExecSyncDone | CribusError], None]) -> None:
        self._loop = yard.loop
        self._respond = respond
        self._locker = locker
        self._kept: dict[int, bytes] = {}
        self._process = Process(yard, Kind(limit=OUTPUT_LIMIT, tty=False, stdin=False), locker, self)
        self._timer: Timer | None = None
        self._timeout = 0
        self._open = {"process", "answer"}

    def start(self, container: str, args: list[str], timeout: int) -> None:
        """`timeout` in seconds, 0 for none. Also what an earlier shim had written down and not begun."""
        notes = self._locker.notes
        if timeout > 0 and not notes[memo.DEADLINE]:
            notes[memo.DEADLINE] = time.monotonic_ns() + timeout * 1_000_000_000
        self._wait(timeout)
        self._process.start(container, args)

    def go_on(self, container: str, args: list[str], timeout: int) -> None:
        """What an earlier shim had begun."""
        self._timeout = timeout
        if self._locker.notes[memo.PHASE] == memo.LEFT:
            self._late()
            return
        self._wait(timeout)
        self._process.go_on(container, args)

    def _wait(self, timeout: int) -> None:
        self._timeout = timeout
        deadline = self._locker.notes[memo.DEADLINE]
        if deadline:
            self._timer = self._loop.later(max(0.0, (deadline - time.monotonic_ns()) / 1e9), self._late)

    def started(self) -> None:
        """Its output counts, not its start."""

    def readable(self, channel: int) -> int:
        return BLOCK

    def output(self, channel: int) -> None:
        """It is read at the end."""

    def ended(self, code: int) -> None:
        out, err = (self._read(channel) for channel in (STDOUT, STDERR))
        self._close("process")
        self._answer(ExecSyncDone(stdout=out, stderr=err, exit_code=code))

    def _read(self, channel: int) -> bytes:
        with open(self._locker.fds[f"kept-{channel}"], "rb", buffering=0, closefd=False) as kept:
            kept.seek(0)
            return kept.read()

    def failed(self, error: CribusError) -> None:
        self._close("process")
        self._answer(error)

    def _late(self) -> None:
        self._process.kill()
        self._process.leave(lambda: self._close("process"))
        self._answer(DeadlineExceeded(f"the command was killed: it did not end within {self._timeout} s"))

    def settled(self) -> None:
        self._close("answer")

    def _close(self, part: str) -> None:
        self._open.discard(part)
        if not self._open:
            self._locker.close_all()

    def _answer(self, result: ExecSyncDone | CribusError) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._respond(result)


class Streamed:
    """Exec with a client: its streams travel as they come, each at the pace of its reader."""

    def __init__(self, yard: Yard, kind: Kind, locker: Locker) -> None:
        self.process = Process(yard, kind, locker, self)
        self.session = Session(yard.loop, self, locker)
        self._locker = locker
        self._stream: Stream | None = None
        self._begun: Callable[[CribusError | None], None] | None = None

    def begin(self, stream: Stream, begun: Callable[[CribusError | None], None]) -> None:
        """`begun` is told once that it executes, or why not."""
        self._stream = stream
        self._begun = begun

    def _sender(self, channel: int) -> Sender | None:
        return self._stream.outgoing.get(channel) if self._stream is not None else None

    def readable(self, channel: int) -> int:
        sender = self._sender(channel)  # None: a stream that the client did not ask for
        if sender is None:
            return BLOCK
        return BLOCK if sender.room() >= BLOCK else 0

    def output(self, channel: int) -> None:
        sender = self._sender(channel)
        if sender is not None:
            sender.push()

    def ended(self, code: int) -> None:
        if self._stream is not None:
            for sender in self._stream.outgoing.values():
                sender.end()
            self.session.exit(code)

    def failed(self, error: CribusError) -> None:
        self.session.free()
        self._tell(error)

    def started(self) -> None:
        if self._stream is not None:
            for channel in self._stream.outgoing:
                kept = self.process.kept(channel)
                if kept is not None:
                    self.session.keep(channel, kept)
            self.session.take(self.process.stdin)
        self._tell(None)

    def _tell(self, error: CribusError | None) -> None:
        begun, self._begun = self._begun, None
        if begun is not None:
            begun(error)

    def acked(self, channel: int) -> None:
        self.process.go(channel)

    def resize(self, width: int, height: int) -> None:
        self.process.resize(width, height)

    def stdin_ended(self) -> None:
        if self.process.stdin is not None and self.process.terminal < 0:
            self.process.stdin.end(lambda: None)

    def gone(self) -> None:
        self.process.leave(self.session.free)
        self._tell(Cancelled("the client went away before the process began"))
