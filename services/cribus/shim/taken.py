"""A container in a shim's care: its descriptors, pumps, log, attached clients, and its end."""

import contextlib
import errno
import itertools
import os
import select
import stat
import time
from collections.abc import Callable

import msgspec

from cribus import pulse
from cribus.api.shim import TAKEN, Take
from cribus.errors import Aborted, CribusError, FailedPrecondition, Internal, ResourceExhausted
from cribus.linux import files, process
from cribus.shim import crilog, exits, keepers, memo, pump, stand_in, written
from cribus.shim.attach import Attach, Follower, Place
from cribus.shim.crilog import LogFile
from cribus.shim.exits import Death, Exit, News
from cribus.shim.gap import Gap
from cribus.shim.inlet import Inlet
from cribus.shim.keepers import Keeper, Locker
from cribus.shim.loop import READ, Loop
from cribus.shim.note import note
from cribus.shim.pump import Pump
from cribus.shim.session import STDERR, STDOUT, Sender
from cribus.steps import Step

_LOGS = "log."
_SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC)
_KEEPERS = 5  # that may be killed while one is asked
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
    """Begins its work at once: what an earlier shim left undone is finished here, but for its sessions."""

    def __init__(self, care: Care, take: Take, held: tuple[Keeper, dict[str, int]]) -> None:
        keeper, self._fds = held
        self.id = take.container
        self.stdin_once = take.stdin_once
        self.keeper = keeper
        self.followers: list[Follower] = []
        self.attached: list[Attach] = []
        self.exit: Exit | None = None
        self.pumps: dict[int, Pump] = {}  # by channel
        self.terminal = -1
        self._care = care
        self._loop = care.loop
        self._take = take
        self._paused = False
        self._at_end: list[Callable[[], None]] = []
        self._gap = Gap(self.id, take.pod, care.news.say)
        self.rescued = stand_in.RESCUED in self._fds  # what sessions there were is not known
        self._orphan = stand_in.ORPHAN in self._fds  # init's parent has gone
        self.sessions = keepers.sessions(self._fds)  # of an earlier shim: for whoever goes on with them
        self.logs = self._open_logs()  # all that a reader may need, the last is written
        self._open_streams()
        self._death = Death(self._loop, care.folder(self.id), self._fds["pidfd"], self._ended)
        self._death.keeper_lives = lambda: keeper.sock is not None and not self._orphan
        self._watch_keeper()
        self._move_staged()

    @property
    def log(self) -> LogFile | None:
        return self.logs[-1] if self.logs else None

    def _open_logs(self) -> list[LogFile]:
        """The very files that an earlier shim wrote, even if they were renamed since."""
        found = []
        for name in [name for name in self._fds if name.startswith(_LOGS)]:
            number, start, *before = (int(word) for word in name.split(".")[1:])
            found.append(LogFile(self._fds.pop(name), number, start, (before[0], before[1])))
        found.sort(key=lambda log: log.number)
        for earlier, later in itertools.pairwise(found):
            earlier.next = later
        if not found and self._take.log_path:
            with _LOG.of(self.id):
                found.append(_opened(self._take.log_path))
            with _LOG_PUT.of(self.id):
                self.keeper.put(_log_name(found[0]), found[0].fd)
        return found

    def _open_streams(self) -> None:
        for name, channel in _CHANNELS.items():
            if name in self._fds:
                source = self._fds[name]
                os.set_blocking(source, False)
                one = Pump("stderr" if name == "stderr" else "stdout", self._care.tools, (source, *self._held(name)))
                one.recover(self.log)
                self._gap.after(one, self.log)
                self.pumps[channel] = one
                if not one.ended:
                    self._watch(one)
        self.terminal = self._fds.get("console", -1)

    def inlet(self, locker: Locker) -> Inlet | None:
        """A client's way to the container's standard input, if that is open."""
        if self.terminal >= 0:
            target = os.dup(self.terminal)
        elif "stdin" in self._fds and stat.S_ISFIFO(os.fstat(self._fds["stdin"]).st_mode):
            target = os.dup(self._fds["stdin"])
        else:
            return None
        if "stdin-stage" not in locker.fds:
            locker.add({"stdin-stage": pump.new_stage()})

        def shut() -> None:
            os.close(target)
            locker.close("stdin-stage")

        return Inlet(self._loop, locker.notes, (locker.fds["stdin-stage"], target), shut)

    def follower(self, locker: Locker, channel: int, sender: Sender, *, whole: bool) -> Follower:
        """A new one: from now on, or from the first byte of the oldest log that is still open."""

        one = self.pumps[channel]
        oldest = self.logs[0] if whole and self.logs else None
        base = oldest.before[one.name] if oldest is not None else one.read
        locker.notes[memo.BASE[channel]] = base
        follower = Follower(one, sender, base, self._marking(locker, channel))
        if oldest is not None:
            follower.fall_back(Place(oldest, oldest.start, base))
        return follower

    def follower_again(self, locker: Locker, channel: int, sender: Sender, given: int) -> Follower:
        """One of an earlier shim, to whose client so many bytes were given."""
        base = locker.notes[memo.BASE[channel]]
        follower = Follower(self.pumps[channel], sender, base + given, self._marking(locker, channel))
        place = locker.notes.place(channel)
        if place is not None:
            number, offset, logged = place
            [log] = [log for log in self.logs if log.number == number]
            follower.fall_back(Place(log, offset, logged))
        return follower

    def _marking(self, locker: Locker, channel: int) -> Callable[[Place | None], None]:
        def mark(place: Place | None) -> None:
            noted = (place.file.number, place.offset, place.logged) if place is not None else None
            locker.notes.set_place(channel, noted)

        return mark

    def _held(self, name: str) -> tuple[int, int]:
        """Stage and page of one stream. The page is left with the keeper last: with it, all is there."""
        if f"page-{name}" in self._fds:
            return self._fds[f"stage-{name}"], self._fds[f"page-{name}"]
        stage, page = pump.new_stage(), pump.new_page()
        for kind, fd in (("stage", stage), ("page", page)):
            with _HELD[kind].of(self.id):
                self.keeper.put(f"{kind}-{name}", fd)
            self._fds[f"{kind}-{name}"] = fd
        return stage, page

    def _watch(self, one: Pump) -> None:
        def ready(_: int) -> None:
            self._move(one)

        self._loop.watch(one.source, READ, ready)

    def _move_staged(self) -> None:
        """What is off its pipe already, so that no event tells of it; after its readers are here again."""

        def move() -> None:
            for one in self.pumps.values():
                if not self._paused and one.staged():
                    self._move(one)

        if any(one.staged() for one in self.pumps.values()):
            self._loop.soon(move)

    def _move(self, one: Pump) -> bool:
        """One batch. False when there was none, or somebody must be waited for."""
        block = one.look(self.log)
        if block is None:
            return False
        if not block:
            self._loop.forget(one.source)
            return False
        if not self._shown(one, block):
            return False
        one.commit(self.log, block)
        self._gap.after(one, self.log)
        return True

    def _shown(self, one: Pump, block: bytes) -> bool:
        """To the followers, before it is logged: what the next shim logs again, they know. Without a log to
        catch up from the container waits for its slowest reader."""
        before = Place(self.log, self.log.size(), one.logged) if self.followers and self.log is not None else None
        for follower in self.followers:
            if follower.pump is one:
                follower.block(block, before)
        if any(follower.stuck for follower in self.followers):
            self._paused = True
            for each in self.pumps.values():
                self._loop.forget(each.source)
        return not self._paused

    @property
    def waits(self) -> bool:
        """For a reader, with output that was not shown yet."""
        return self._paused

    def resume(self) -> None:
        """A reader took something, or left."""
        if self._paused and not any(follower.stuck for follower in self.followers):
            self._paused = False
            if self.exit is not None:
                self.drain()
                for attach in [] if self._paused else list(self.attached):
                    attach.ended(self.exit.code)
                return
            for one in self.pumps.values():
                if not one.ended:
                    self._watch(one)
            self._move_staged()

    def _watch_keeper(self) -> None:
        if self.keeper.sock is not None:
            self._loop.watch(self.keeper.sock.fileno(), READ, self._keeper_said)

    def _keeper_said(self, _: int) -> None:
        """A keeper says nothing unasked: it has gone, or does not hear us any more, because our successor has
        come. While our copies live, another one gets them."""
        pulse.checked()
        assert self.keeper.sock is not None
        self._loop.forget(self.keeper.sock.fileno())
        self.keeper.close()
        if self.exit is not None or self.dying():
            return
        note("keeper is gone", container=self.id)
        self._orphan = True
        logs = {_log_name(log): log.fd for log in self.logs}
        hold = {**self._fds, **logs, **self.keeper.of_sessions()}
        for left in reversed(range(_KEEPERS)):
            try:
                self.keeper.sock = stand_in.start(self._care.folder(self.id), hold)
            except OSError as error:
                if left and isinstance(error, ConnectionError):  # it was killed before we had spoken to it
                    continue
                note("no keeper can be put in its place", container=self.id, cause=str(error))
                return
            self._watch_keeper()
            return

    def _ended(self, exit: Exit) -> None:
        """Init is dead. What it wrote is in the pipes: log it all, then tell."""
        with _DRAINED.of(self.id):
            self.drain()
        self._gap.over()
        self.exit = exit
        _tell(self._care, self._take, exit)
        for attach in list(self.attached):
            attach.ended(exit.code)
        while self._at_end:
            self._at_end.pop(0)()

    def drain(self) -> None:
        """Log what is in the pipes now, and the lines that nobody will finish."""
        for one in self.pumps.values():
            budget = 1 << 20  # others may hold the pipe and write on
            while budget > 0 and self._move(one):
                budget -= pump.BLOCK
            one.flush(self.log)
            self._gap.after(one, self.log)

    def when_ended(self, callback: Callable[[], None]) -> None:
        """Call back once the exit was taken down, or the container is released; at once when the exit was."""
        if self.exit is not None:
            callback()
        else:
            self._at_end.append(callback)

    def dying(self) -> bool:
        """Whether init is dead, though its exit may not have been taken down yet."""
        poll = select.poll()
        poll.register(self._fds["pidfd"], select.POLLIN)
        return bool(poll.poll(0))

    def serves(self, request: Take) -> bool:
        """Whether the request is about the init that this one has, not about one of another try to start it."""
        return exits.same(self._take.pid, request.pid)

    def reopen_log(self) -> None:
        """Go on in a new file at the log's path; the old one ends with a whole line, as it always does.
        It stays open as long as a reader needs it, also through our death.

        Raises FailedPrecondition when it cannot be opened.
        """
        last = self.log
        if last is None:
            return
        before = {one.name: one.logged for one in self.pumps.values()}
        with _REOPENED.of(self.id):
            counts = (before.get(b"stdout", 0), before.get(b"stderr", 0))
            fresh = _opened(self._take.log_path, last.number + 1, counts)
        with _REPLACED.of(self.id):
            self.keeper.put(_log_name(fresh), fresh.fd)
        last.next = fresh
        read = [follower.file.number for follower in self.followers if follower.file is not None]
        oldest = min([fresh.number, *read])
        self.keeper.drop(*(_log_name(log) for log in self.logs if log.number < oldest))
        self.logs = [log for log in (*self.logs, fresh) if log.number >= oldest]

    def close_stdin(self) -> None:
        """The one client that may speak has finished: the process reads the end. Idempotent."""
        if "stdin" not in self._fds or not stat.S_ISFIFO(os.fstat(self._fds["stdin"]).st_mode):
            return
        null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        self.keeper.put("stdin", null)  # lets go of its copy, and tells the next shim
        os.dup2(null, self._fds["stdin"], inheritable=False)
        os.close(null)
        for attach in list(self.attached):
            attach.hang_up()

    def release(self) -> None:
        """Forget the container: its keeper, its files, its news."""
        self.drain()
        self._death.close()
        for attach in list(self.attached):
            attach.ended(self.exit.code if self.exit else exits.UNKNOWN)
        for one in self.pumps.values():
            self._loop.forget(one.source)
        self.pumps.clear()
        if self.keeper.sock is not None:
            self._loop.forget(self.keeper.sock.fileno())
            self.keeper.close()
        for fd in self._fds.values():
            os.close(fd)
        with _UNTAKEN.of(self.id), contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._care.folder(self.id)}/{TAKEN}")
        with _FORGOTTEN.of(self.id):
            self._care.news.forget(self.id)
        while self._at_end:
            self._at_end.pop(0)()


def _tell(care: Care, take: Take, exit: Exit) -> None:
    """Unless that was done before, or init has not been the container."""
    if take.marked and not exits.began(care.folder(take.container), take.pid):
        note("init ended before it could run the program", container=take.container, code=exit.code)
    elif not care.news.told(take.container, take.pid):
        note("container exited", container=take.container, code=exit.code, known=exit.known)
        care.news.tell(take.container, take.pid, exit)


def over(care: Care, take: Take) -> bool:
    """Of a container whose shim and keeper have gone together, with nothing left to take: whether its end is known.
    It is told then."""
    exit = exits.witnessed(care.folder(take.container))
    if exit is not None:
        _tell(care, take, exit)
    return exit is not None or care.news.told(take.container, take.pid)


def unseen(care: Care, take: Take) -> None:
    """The same where the executor has not seen how it ended either: nobody will tell any more."""
    _tell(care, take, Exit(code=exits.UNKNOWN, at=time.time_ns(), known=False))


def _log_name(log: LogFile) -> str:
    """Under which the keeper holds it, with all that the next shim must know of it."""
    return f"{_LOGS}{log.number}.{log.start}.{log.before[b'stdout']}.{log.before[b'stderr']}"


def _opened(path: str, number: int = 0, before: tuple[int, int] = (0, 0)) -> LogFile:
    try:
        return crilog.open_log(path, number, before)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceExhausted(f"log file {path} cannot be made: {error.strerror}; make room there") from error
        raise FailedPrecondition(f"log file {path} cannot be opened: {error.strerror}") from error


def take(care: Care, request: Take) -> Container:
    """Take a created container, and write down that it is so. Raises FailedPrecondition, Aborted, ResourceExhausted,
    Internal."""
    folder = care.folder(request.container)
    with _KEEPER.of(request.container):
        keeper = _keeper(folder, request)
    with _TAKEN.of(request.container):
        files.write_atomic(f"{folder}/{TAKEN}", msgspec.json.encode(request))
    try:
        return Container(care, request, keeper)
    except (BrokenPipeError, ConnectionResetError) as error:
        _let_go(care, *keeper)
        raise Aborted(f"the keeper of {request.container} was killed while it was asked; start again") from error
    except OSError as error:
        _let_go(care, *keeper)
        kind = ResourceExhausted if error.errno in _SCARCE else Internal
        raise kind(f"container {request.container} cannot be taken: {error.strerror}") from error
    except CribusError:  # of its log
        _let_go(care, *keeper)
        raise


def check(care: Care, request: Take) -> None:
    """Raises Aborted when the start that this is about has been made again since."""
    if not exits.same(exits.tried(care.folder(request.container)), request.pid):
        raise Aborted(f"the start of {request.container} that made process {request.pid} was made again; start again")


def _let_go(care: Care, keeper: Keeper, fds: dict[str, int]) -> None:
    """Nothing of a container that could not be taken stays here; its keeper has it all."""
    if keeper.sock is not None:
        care.loop.forget(keeper.sock.fileno())
    keeper.close()
    for fd in fds.values():
        care.loop.forget(fd)
        os.close(fd)


def _keeper(folder: str, request: Take) -> tuple[Keeper, dict[str, int]]:
    """The container's keeper, and what it holds: the first one, one that stands in for it, or a new one."""
    for _ in range(_KEEPERS):
        try:
            keeper = keepers.connect(folder)
        except (Aborted, FailedPrecondition):
            if not os.path.exists(f"{folder}/{TAKEN}"):
                raise
            keeper = keepers.connect(folder) if stand_in.come(folder) else _rescued(folder, request)
        try:
            return keeper, keeper.get()
        except ConnectionError:  # it was just being killed
            keeper.close()
    raise Internal(f"the keepers of container {request.container} die one after the other")


def _rescued(folder: str, request: Take) -> Keeper:
    """Of a container that an earlier shim had, and that lost it and its keeper: one with what is left of it.

    Raises FailedPrecondition when there is nothing, Aborted when its keeper lives: two would share its output.
    """
    if any(process.home(pid) == folder for pid in process.named("keeper")):
        raise Aborted(f"the keeper of {request.container} lives, and has to be told where to listen; repeat")
    hold = stand_in.rescued(folder, request)
    if not hold:
        raise FailedPrecondition(f"no keeper serves {folder}, and nothing runs there")
    try:
        return Keeper(stand_in.start(folder, hold))
    except OSError as error:
        raise Internal(f"no keeper can be put in the place of that of {request.container}: {error}") from error
    finally:
        for fd in hold.values():
            os.close(fd)


def remembered(care: Care, pod: str, among: list[str] | None) -> list[Take]:
    """What earlier shims of this pod had taken, of these containers or of all."""
    found = []
    for name in files.listed(f"{care.run}/containers") if among is None else among:
        take = written.read(f"{care.folder(name)}/{TAKEN}", Take)
        if take is not None and take.pod == pod:
            found.append(take)
    return found
