"""How a container ended, and telling it until somebody has it for sure; and what else a shim has to tell.

Witnesses: the keeper's exit.json, and the kernel's own record behind the pidfd (Linux 6.15), which
also speaks when the keeper was killed. The news is kept in `pods/<pod>/exits/<container>.json` until
the event stream has acknowledged it; then `told` in the container's directory says so to later shims.
"""

import contextlib
import os
import time
from collections.abc import Callable

import msgspec

from cribus.api import events
from cribus.api.events import Event
from cribus.api.shim import GOING
from cribus.cgroups import oom
from cribus.linux import files, inotify, process
from cribus.shim import written
from cribus.shim.loop import READ, Loop, Timer
from cribus.shim.note import note
from cribus.steps import Step

UNKNOWN = 255  # the code that containerd and CRI-O give an exit that nobody saw
TOLD = "told"
_SLOW_KEEPER = 0.2  # seconds between reaping and exit.json, at most
_NO_WITNESS = 3.0  # seconds after death without any word
Tell = Callable[[Event, Callable[[], None]], None]
_KEPT = Step("shim.exit.kept")
_TOLD = Step("shim.exit.acknowledged")
_MARKED = Step("shim.exit.marked")
_UNKEPT = Step("shim.exit.unkept")


class Exit(msgspec.Struct, frozen=True):
    """`code` as a shell gives it: 128 + signal for a killed process. `at` in ns since the epoch."""

    code: int
    at: int
    signal: int = 0
    known: bool = True


class _State(msgspec.Struct):
    """What is needed of the executor's state.json."""

    cgroup: str = ""
    pid: int = 0


def of_status(status: int) -> Exit:
    """A wait status as an exit that happened now."""
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return Exit(code=128 + number if number else os.WEXITSTATUS(status), signal=number, at=time.time_ns())


class Death:
    """Waits for the end of a container's init. `done` gets the exit, once."""

    def __init__(self, loop: Loop, folder: str, pidfd: int, done: Callable[[Exit], None]) -> None:
        self._loop = loop
        self._folder = folder
        self._pidfd = pidfd
        self._done: Callable[[Exit], None] | None = done
        self._inotify = -1
        self._timers: list[Timer] = []
        self.keeper_lives: Callable[[], bool] = lambda: True
        loop.watch(pidfd, READ, self._died)

    def close(self) -> None:
        """Idempotent. The pidfd stays the caller's."""
        self._done = None
        self._loop.forget(self._pidfd)
        for timer in self._timers:
            timer.cancel()
        if self._inotify >= 0:
            self._loop.forget(self._inotify)
            os.close(self._inotify)
            self._inotify = -1

    def _died(self, _: int) -> None:
        """It is dead; now who says how? A hang-up of the pidfd means that it was reaped."""
        self._loop.watch(self._pidfd, 0, self._reaped)
        if not process.remembers_exits():
            self._watch_folder()
        self._timers.append(self._loop.later(_NO_WITNESS, self._nobody))
        self._look(0)
        if not self.keeper_lives():
            self._ask_zombie()

    def _watch_folder(self) -> None:
        """For kernels that do not tell: closing an inotify waits some 15 ms for the kernel's readers."""
        self._inotify = inotify.init()
        try:
            inotify.add_watch(self._inotify, self._folder, inotify.IN_MOVED_TO | inotify.IN_ONLYDIR)
            self._loop.watch(self._inotify, READ, self._look)
        except FileNotFoundError:
            note("run directory is gone", folder=self._folder)

    def _look(self, _: int) -> None:
        if self._inotify >= 0:
            inotify.read(self._inotify)
        found = witnessed(self._folder)
        if found is not None:
            self._finish(found)

    def _reaped(self, _: int) -> None:
        self._loop.forget(self._pidfd)
        found = witnessed(self._folder)
        if found is not None:
            self._finish(found)
        elif self.keeper_lives() and not process.remembers_exits():
            self._timers.append(self._loop.later(_SLOW_KEEPER, self._ask_kernel))
        else:
            self._ask_kernel()

    def _ask_kernel(self) -> None:
        status = process.pidfd_exit(self._pidfd)
        if status is not None:
            self._finish(of_status(status))

    def _ask_zombie(self) -> None:
        """Without its keeper it is somebody's child who may not care to reap it; then it lies there, and shows how."""
        status = process.zombie_exit(self._pidfd) if self._done is not None else None
        if status is not None:
            self._finish(of_status(status))

    def _nobody(self) -> None:
        self._ask_kernel()
        self._ask_zombie()
        if self._done is None:
            return
        if self.keeper_lives():
            self._timers.append(self._loop.later(_NO_WITNESS, self._nobody))
        else:
            self._finish(Exit(code=UNKNOWN, at=time.time_ns(), known=False))

    def _finish(self, found: Exit) -> None:
        done = self._done
        self.close()
        if done is not None:
            done(found)


def began(folder: str, pid: int) -> bool:
    """Whether this init of the container could execute its program; also when nothing is left that says it did not."""
    going = _marked(f"{folder}/{GOING}")
    if going is None:
        return not os.path.exists(f"{folder}/state.json")
    return same(going, pid)


def tried(folder: str) -> int:
    """The pid of the init that the executor made last, 0 where that is not known."""
    state = written.read(f"{folder}/state.json", _State)
    return state.pid if state is not None else 0


def same(pid: int, other: int) -> bool:
    """Whether two inits of one container are the same, as far as both are known: a start may be made again."""
    return not pid or not other or pid == other


def _marked(path: str) -> int | None:
    """The pid that a mark is about, 0 of one that does not say; None without a mark."""
    try:
        said = files.read(path)
    except FileNotFoundError:
        return None
    return int(said) if said.isdigit() else 0


def witnessed(folder: str) -> Exit | None:
    """What the keeper saw, or the executor in its place; None as long as neither has said so."""
    return written.read(f"{folder}/exit.json", Exit)


class News:
    """A pod's exits on their way to the event stream."""

    def __init__(self, run: str, pod: str, tell: Tell) -> None:
        self._containers = f"{run}/containers"
        self._folder = f"{run}/pods/{pod}/exits"
        self._pod = pod
        self._tell = tell
        self._wanted: dict[str, Event] = {}  # of each container, the exit that is on its way

    def told(self, container: str, pid: int) -> bool:
        """Whether this init's exit has been told by an earlier shim, or is being told."""
        kept = written.read(self._file(container), Event)
        mark = _marked(self._mark(container))
        return (kept is not None and same(kept.pid, pid)) or (mark is not None and same(mark, pid))

    def first(self) -> bool:
        """Whether no shim of this pod was here before."""
        return not os.path.isdir(self._folder)

    def again(self) -> None:
        """Go on with what an earlier shim had not been acknowledged."""
        os.makedirs(self._folder, exist_ok=True)
        for name in os.listdir(self._folder):
            if name.endswith(".json"):
                event = written.read(f"{self._folder}/{name}", Event)
                if event is None:  # an exit that it told of is told again by who takes its container
                    _unlink(f"{self._folder}/{name}")
                elif event.kind == events.EXITED:
                    self._send(event)
                else:
                    self._send_other(f"{self._folder}/{name}", event)

    def tell(self, container: str, pid: int, exit: Exit) -> None:
        """Keep it, then tell it."""
        event = Event(
            kind=events.EXITED,
            id=container,
            pod=self._pod,
            at=exit.at,
            exit_code=exit.code,
            exit_known=exit.known,
            signal=exit.signal,
            pid=pid,
            oom=_out_of_memory(f"{self._containers}/{container}"),
        )
        with _KEPT.of(container):
            os.makedirs(self._folder, exist_ok=True)  # somebody may have emptied the run directory
            files.write_atomic(self._file(container), msgspec.json.encode(event))
        self._send(event)

    def say(self, event: Event) -> None:
        """Tell what is no exit, and keep it until the stream has it."""
        path = f"{self._folder}/{event.id}.{event.kind}.{event.at}.json"
        files.write_atomic(path, msgspec.json.encode(event))
        self._send_other(path, event)

    def _send_other(self, path: str, event: Event) -> None:
        self._tell(event, lambda: _unlink(path))

    def forget(self, container: str) -> None:
        """The container is being removed: nobody waits for its exit any more. Idempotent."""
        self._wanted.pop(container, None)
        _unlink(self._file(container))

    def _send(self, event: Event) -> None:
        self._wanted[event.id] = event

        def acknowledged() -> None:
            _TOLD.passed()
            if self._wanted.get(event.id) is not event:  # its directory may be just being removed
                return
            del self._wanted[event.id]
            with _MARKED.of(event.id), contextlib.suppress(FileNotFoundError):  # the container was removed meanwhile
                files.write_atomic(self._mark(event.id), str(event.pid).encode())
            with _UNKEPT.of(event.id):
                _unlink(self._file(event.id))

        self._tell(event, acknowledged)

    def _file(self, container: str) -> str:
        return f"{self._folder}/{container}.json"

    def _mark(self, container: str) -> str:
        return f"{self._containers}/{container}/{TOLD}"


def _out_of_memory(folder: str) -> bool:
    """Whether the OOM killer struck in the container's cgroup, which the executor's state names."""
    state = written.read(f"{folder}/state.json", _State)
    return state is not None and bool(state.cgroup) and oom.killed(state.cgroup)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
