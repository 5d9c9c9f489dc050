"""A container in a shim's care: its descriptors, pumps, log, attached clients, and its end."""

import contextlib
import os
import select
import stat
from collections.abc import Callable

import msgspec

from cribus.api.shim import Take
from cribus.errors import FailedPrecondition, Internal
from cribus.linux import files
from cribus.shim import crilog, exits, keepers, pump
from cribus.shim.attach import Attach, Follower, Place
from cribus.shim.crilog import LogFile
from cribus.shim.exits import Death, Exit, News
from cribus.shim.keepers import Keeper
from cribus.shim.loop import READ, Loop
from cribus.shim.note import note
from cribus.shim.pump import Pump
from cribus.shim.session import STDERR, STDOUT
from cribus.shim.writer import Writer
from cribus.steps import Step

TAKE = "take.json"
_CHANNELS = {"stdout": STDOUT, "stderr": STDERR, "console": STDOUT}
_KEEPER = Step("shim.take.keeper")
_TAKEN = Step("shim.take.noted")
_LOG = Step("shim.take.log")
_LOG_PUT = Step("shim.take.log-held")
_HELD = {kind: Step(f"shim.take.{kind}-held") for kind in ("stage", "page")}
_DRAINED = Step("shim.exit.drained")
_REOPENED = Step("shim.reopen.opened")
_REPLACED = Step("shim.reopen.held")
_UNTAKEN = Step("shim.release.untaken")
_FORGOTTEN = Step("shim.release.forgotten")


class Care:
    """What every container of a pod shares."""

    def __init__(self, loop: Loop, run: str, news: News) -> None:
        self.loop = loop
        self.run = run
        self.news = news
        self.tools = pump.Tools()

    def folder(self, container: str) -> str:
        return f"{self.run}/containers/{container}"


class Container:
    """Begins its work at once: what an earlier shim left undone is finished here."""

    def __init__(self, care: Care, take: Take, keeper: Keeper) -> None:
        self.id = take.container
        self.stdin_once = take.stdin_once
        self.followers: list[Follower] = []
        self.attached: list[Attach] = []
        self.exit: Exit | None = None
        self.pumps: dict[int, Pump] = {}  # by channel
        self.stdin: Writer | None = None
        self.terminal = -1
        self._care = care
        self._loop = care.loop
        self._take = take
        self._keeper = keeper
        self._paused = False
        self._at_end: list[Callable[[], None]] = []
        self._fds = keeper.get()
        self.log = self._open_log()
        self._open_streams()
        self._death = Death(self._loop, care.folder(self.id), self._fds["pidfd"], self._ended)
        self._death.keeper_lives = lambda: keeper.sock is not None
        if keeper.sock is not None:
            self._loop.watch(keeper.sock.fileno(), READ, self._keeper_said)

    def _open_log(self) -> LogFile | None:
        if "log" in self._fds:  # the very file that an earlier shim wrote, even if it was renamed since
            return LogFile(self._fds.pop("log"))
        if not self._take.log_path:
            return None
        with _LOG.of(self.id):
            log = _opened(self._take.log_path)
        with _LOG_PUT.of(self.id):
            self._keeper.put("log", log.fd)
        return log

    def _open_streams(self) -> None:
        for name, channel in _CHANNELS.items():
            if name in self._fds:
                source = self._fds[name]
                os.set_blocking(source, False)
                one = Pump("stderr" if name == "stderr" else "stdout", self._care.tools, (source, *self._held(name)))
                one.recover(self.log)
                self.pumps[channel] = one
                if not one.ended:
                    self._watch(one)
        self.terminal = self._fds.get("console", -1)
        if self.terminal >= 0:
            self.stdin = Writer(self._loop, os.dup(self.terminal))
        elif "stdin" in self._fds and stat.S_ISFIFO(os.fstat(self._fds["stdin"]).st_mode):
            self.stdin = Writer(self._loop, self._fds.pop("stdin"))

    def _held(self, name: str) -> tuple[int, int]:
        """Stage and page of one stream. The page is left with the keeper last: with it, all is there."""
        if f"page-{name}" in self._fds:
            return self._fds[f"stage-{name}"], self._fds[f"page-{name}"]
        stage, page = pump.new_stage(), pump.new_page()
        for kind, fd in (("stage", stage), ("page", page)):
            with _HELD[kind].of(self.id):
                self._keeper.put(f"{kind}-{name}", fd)
            self._fds[f"{kind}-{name}"] = fd
        return stage, page

    def _watch(self, one: Pump) -> None:
        def ready(_: int) -> None:
            self._move(one)

        self._loop.watch(one.source, READ, ready)

    def _move(self, one: Pump) -> bool:
        """One batch. False when there was none."""
        before = None
        if self.followers and self.log is not None:
            before = Place(self.log, self.log.size(), one.logged)
        lost = one.lost
        block = one.step(self.log)
        if one.lost > lost:
            note("the log's disk takes no more", container=self.id, lost_bytes=one.lost)
        if block is None:
            return False
        if not block:
            self._loop.forget(one.source)
            return False
        for follower in self.followers:
            if follower.pump is one:
                follower.block(block, before)
        if self.log is None and any(follower.stuck for follower in self.followers):
            self._pause()
        return True

    def _pause(self) -> None:
        """Without a log to catch up from, the container waits for its slowest reader."""
        self._paused = True
        for one in self.pumps.values():
            self._loop.forget(one.source)

    def resume(self) -> None:
        """A reader took something, or left."""
        if self._paused and not any(follower.stuck for follower in self.followers):
            self._paused = False
            for one in self.pumps.values():
                if not one.ended:
                    self._watch(one)

    def _keeper_said(self, _: int) -> None:
        """A keeper says nothing unasked: it has gone. Our copies go on working."""
        assert self._keeper.sock is not None
        self._loop.forget(self._keeper.sock.fileno())
        self._keeper.close()
        if self.exit is None:
            note("keeper is gone", container=self.id)

    def _ended(self, exit: Exit) -> None:
        """Init is dead. What it wrote is in the pipes: log it all, then tell."""
        with _DRAINED.of(self.id):
            self.drain()
        self.exit = exit
        note("container exited", container=self.id, code=exit.code, known=exit.known)
        if not self._care.news.told(self.id):
            self._care.news.tell(self.id, exit)
        for attach in list(self.attached):
            attach.ended(exit.code)
        for callback in self._at_end:
            callback()

    def drain(self) -> None:
        """Log what is in the pipes now, and the lines that nobody will finish."""
        for one in self.pumps.values():
            budget = 1 << 20  # others may hold the pipe and write on
            while budget > 0 and self._move(one):
                budget -= pump.BLOCK
            one.flush(self.log)

    def when_ended(self, callback: Callable[[], None]) -> None:
        """Call back once the exit was taken down; at once when it was."""
        if self.exit is not None:
            callback()
        else:
            self._at_end.append(callback)

    def dying(self) -> bool:
        """Whether init is dead, though its exit may not have been taken down yet."""
        poll = select.poll()
        poll.register(self._fds["pidfd"], select.POLLIN)
        return bool(poll.poll(0))

    def reopen_log(self) -> None:
        """Go on in a new file at the log's path; the old one ends with a whole line, as it always does.

        Raises FailedPrecondition when it cannot be opened.
        """
        if self.log is None:
            return
        with _REOPENED.of(self.id):
            fresh = _opened(self._take.log_path)
        with _REPLACED.of(self.id):
            self._keeper.put("log", fresh.fd)
        self.log.next = fresh
        self.log = fresh

    def close_stdin(self) -> None:
        """The one client that may speak has finished: the process reads the end."""
        if self.stdin is not None:
            self.stdin.end(self._stdin_closed)

    def _stdin_closed(self) -> None:
        null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        self._keeper.put("stdin", null)  # lets go of its copy, and tells the next shim
        os.close(null)

    def release(self) -> None:
        """Forget the container: its keeper, its files, its news."""
        self.drain()
        self._death.close()
        for attach in list(self.attached):
            attach.ended(self.exit.code if self.exit else exits.UNKNOWN)
        for one in self.pumps.values():
            self._loop.forget(one.source)
        if self._keeper.sock is not None:
            self._loop.forget(self._keeper.sock.fileno())
            self._keeper.close()
        if self.stdin is not None:
            self.stdin.close()
        for fd in self._fds.values():
            os.close(fd)
        with _UNTAKEN.of(self.id), contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._care.folder(self.id)}/{TAKE}")
        with _FORGOTTEN.of(self.id):
            self._care.news.forget(self.id)


def _opened(path: str) -> LogFile:
    try:
        return crilog.open_log(path)
    except OSError as error:
        raise FailedPrecondition(f"log file {path} cannot be opened: {error.strerror}") from error


def take(care: Care, request: Take) -> Container:
    """Take a created container, and write down that it is so. Raises FailedPrecondition, Internal."""
    folder = care.folder(request.container)
    with _KEEPER.of(request.container):
        keeper = keepers.connect(folder)
    with _TAKEN.of(request.container):
        files.write_atomic(f"{folder}/{TAKE}", msgspec.json.encode(request))
    try:
        return Container(care, request, keeper)
    except OSError as error:
        raise Internal(f"container {request.container} cannot be taken: {error}") from error


def remembered(care: Care, pod: str) -> list[Take]:
    """What earlier shims of this pod had taken."""
    found = []
    for name in _listed(f"{care.run}/containers"):
        try:
            take = msgspec.json.decode(files.read(f"{care.folder(name)}/{TAKE}"), type=Take)
        except FileNotFoundError:
            continue
        if take.pod == pod:
            found.append(take)
    return found


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
