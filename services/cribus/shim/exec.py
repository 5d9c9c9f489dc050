"""Exec, both kinds: `Sync` collects a process's output, `Streamed` gives it to a client as it comes."""

from collections.abc import Callable

from cribus.api.shim import ExecSyncDone
from cribus.errors import Cancelled, CribusError, DeadlineExceeded, Internal
from cribus.shim.further import BLOCK, Kind, Process, Yard
from cribus.shim.loop import Timer
from cribus.shim.session import STDERR, STDOUT, Session, Stream

OUTPUT_LIMIT = 16 << 20  # bytes of each stream that ExecSync keeps, as containerd does


class Sync:
    """ExecSync: the whole output, at most OUTPUT_LIMIT of each stream, or DeadlineExceeded."""

    def __init__(self, yard: Yard, respond: Callable[[ExecSyncDone | CribusError], None]) -> None:
        self._loop = yard.loop
        self._respond = respond
        self._output = {STDOUT: bytearray(), STDERR: bytearray()}
        self._process = Process(yard, Kind(), self)
        self._timer: Timer | None = None
        self._timeout = 0

    def start(self, container: str, args: list[str], timeout: int) -> None:
        """`timeout` in seconds, 0 for none."""
        self._timeout = timeout
        if timeout > 0:
            self._timer = self._loop.later(timeout, self._late)
        self._process.start(container, args)

    def started(self) -> None:
        """Its output counts, not its start."""

    def readable(self, channel: int) -> bool:
        return True

    def output(self, channel: int, data: bytes) -> None:
        kept = self._output[channel]
        kept += data[: max(0, OUTPUT_LIMIT - len(kept))]

    def ended(self, code: int) -> None:
        out, err = (bytes(self._output[channel]) for channel in (STDOUT, STDERR))
        self._answer(ExecSyncDone(stdout=out, stderr=err, exit_code=code))

    def failed(self, error: CribusError) -> None:
        self._answer(error)

    def _late(self) -> None:
        self._process.kill()
        self._process.close()
        self._answer(DeadlineExceeded(f"the command was killed: it did not end within {self._timeout} s"))

    def _answer(self, result: ExecSyncDone | CribusError) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._respond(result)


class Streamed:
    """Exec with a client: its streams travel as they come, each at the pace of its reader."""

    def __init__(self, yard: Yard, kind: Kind, make: "Callable[[Streamed, Process], Session]") -> None:
        self.process = Process(yard, kind, self)
        self._stream: Stream | None = None
        self._rest: dict[int, bytes] = {}
        self._begun: Callable[[CribusError | None], None] | None = None
        self.session = make(self, self.process)

    def start(self, container: str, args: list[str], begun: Callable[[CribusError | None], None]) -> None:
        """`begun` is told once that it executes, or why not."""
        self._begun = begun
        self.process.start(container, args)

    def begin(self, stream: Stream) -> None:
        self._stream = stream

    def readable(self, channel: int) -> bool:
        if self._stream is None:
            return False
        sender = self._stream.outgoing.get(channel)
        return sender is None or sender.room() >= BLOCK

    def output(self, channel: int, data: bytes) -> None:
        assert self._stream is not None
        sender = self._stream.outgoing.get(channel)  # None: a stream the client did not ask for
        if sender is not None and sender.write(data) < len(data):
            raise Internal("a stream's window shrank while it was written")

    def ended(self, code: int) -> None:
        if self._stream is not None:
            for sender in self._stream.outgoing.values():
                sender.end()
            self.session.exit(code)

    def failed(self, error: CribusError) -> None:
        self.session.close()
        self._tell(error)

    def started(self) -> None:
        self.session.stdin = self.process.stdin
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
        self.process.close()
        self._tell(Cancelled("the client went away before the process began"))
