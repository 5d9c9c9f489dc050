"""One further process in a container: the shim makes its streams and sees its end, the executor forks.

What belongs to it is in the container's keeper (ends.py), and how far it has come in its session's memo,
so that the next shim goes on with it.
"""

import os
import select
import signal
import socket
from collections.abc import Callable
from typing import Protocol

from cribus.api.executor import Exec, Execed
from cribus.errors import Aborted, CribusError
from cribus.linux import fds as descriptors
from cribus.linux import libc, process
from cribus.shim import ends, memo
from cribus.shim.attach import resize
from cribus.shim.door import Door
from cribus.shim.ends import Kind
from cribus.shim.inlet import Inlet
from cribus.shim.keepers import Locker
from cribus.shim.kept import Kept
from cribus.shim.loop import HANGUP, READ, Loop
from cribus.shim.outlet import Outlet
from cribus.shim.pump import Tools
from cribus.shim.session import STDERR, STDOUT
from cribus.steps import Step

FORKING = 60.0  # seconds for the executor's answer
_REQUESTS = 3  # to the executor for one process, while none of them has reached one
BLOCK = 65536  # bytes of one read
_TERMINAL_HOLDS = 65536  # bytes: more than a terminal keeps of what was written before (pty.c, tty_buffer.c)
_UNKNOWN = 255  # the exit code of a process whose end nobody saw
_PROCESS_GROUP = 4  # PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9

Done = Callable[[Execed | None, CribusError | None], None]
Fork = Callable[[Exec, bool, Done], None]  # (what, whether an earlier shim has asked for it, what came of it)
_KEPT = Step("shim.exec.kept")
_ASKED = Step("shim.exec.asked")
_FETCHED = Step("shim.exec.fetched")
_FORKED = Step("shim.exec.forked")
_EXECUTED = Step("shim.exec.executed")
_EXITED = Step("shim.exec.exited")


class Wanted(Protocol):
    """What the owner of a process does with its news."""

    def started(self) -> None: ...
    def readable(self, channel: int) -> int: ...  # how many bytes it takes; 0: look again when `Process.go` says
    def output(self, channel: int) -> None: ...  # more was kept
    def ended(self, code: int) -> None: ...
    def failed(self, error: CribusError) -> None: ...


class Yard:
    """Where processes are made: a pod's loop and door, its pipes for looking, and the executor."""

    def __init__(self, loop: Loop, door: Door, tools: Tools, fork: Fork) -> None:
        self.loop = loop
        self.door = door
        self.tools = tools
        self.fork = fork


class Process:
    """One process, from its streams to its exit code. Tells `owner` `failed` or `ended`, once.

    Its descriptors stay in `locker`; who owns it closes them.
    """

    def __init__(self, yard: Yard, kind: Kind, locker: Locker, owner: Wanted) -> None:
        self.stdin: Inlet | None = None
        self.terminal = -1
        self._yard = yard
        self._loop = yard.loop
        self._kind = kind
        self._locker = locker
        self._fds = locker.fds
        self._owner: Wanted | None = owner
        self._outer: list[int] = []
        self._outlets: dict[int, Outlet] = {}
        self._kept: dict[int, Kept] = {}
        self._left: dict[int, int] = {}  # channel → bytes still wanted after the exit
        self._status: int | None = None
        self._answered = False
        self._over: Callable[[], None] | None = None
        self._requests = 0
        self._size = (0, 0)

    def start(self, container: str, args: list[str]) -> None:
        """Make its streams, and ask the executor for it."""
        ours, self._outer = ends.made(self._kind)
        self._locker.add(ours)
        self._locker.notes.exec_id = os.urandom(16).hex()
        with _KEPT.of(container):
            self._locker.send()
        self._ask(container, args, again=False)

    def go_on(self, container: str, args: list[str]) -> None:
        """Go on with what an earlier shim had begun, and its descriptors were fetched or more."""
        if self._locker.notes[memo.PHASE] == memo.FETCHED:
            self._ask(container, args, again=True)
            return
        self._find()
        if "exit" in self._fds:
            self._wait()
        self._runs()

    def _ask(self, container: str, args: list[str], *, again: bool) -> None:
        id = self._locker.notes.exec_id
        self._yard.door.execs[id] = self
        wanted = Exec(container=container, pod=self._yard.door.pod, exec_id=id, args=args, tty=self._kind.tty)
        self._wait()
        self._requests += 1

        def done(answer: Execed | None, error: CribusError | None) -> None:
            if isinstance(error, Aborted) and self._reached_nobody():
                self._ask(container, args, again=False)
            else:
                self._forked_or_not(answer, error)

        with _ASKED.of(container):
            self._yard.fork(wanted, again, done)

    def _reached_nobody(self) -> bool:
        """Whether no executor has come for the descriptors, and none will under the id of that request."""
        if not self._fds or self._locker.notes[memo.PHASE] != memo.ASKED or self._requests == _REQUESTS:
            return False
        self._yard.door.execs.pop(self._locker.notes.exec_id, None)
        self._locker.notes.exec_id = os.urandom(16).hex()
        return True

    def _wait(self) -> None:
        """For its end. Its fork server, when that has died, tells nothing any more; then the kernel may."""
        if "exit" in self._fds:
            self._loop.watch(self._fds["exit"], READ, self._exited)
        elif "pidfd" in self._fds:
            self._loop.watch(self._fds["pidfd"], READ, self._dead)
        elif self._answered or self._over is not None:
            self._exited_with(_UNKNOWN << 8)

    def outer(self) -> list[int]:
        """For the executor: from now on there may be a process."""
        if self._outer:
            self._locker.notes[memo.PHASE] = memo.FETCHED
            _FETCHED.passed()
        return self._outer

    def forked(self, pid: int, pidfd: int) -> None:
        if self._over is not None or "pidfd" in self._fds:
            os.close(pidfd)
        else:
            self._fds["pidfd"] = pidfd
        _FORKED.passed()
        if self._answered:  # the bus was faster than the door
            self._yard.door.execs.pop(self._locker.notes.exec_id, None)

    def _forked_or_not(self, answer: Execed | None, error: CribusError | None) -> None:
        if not self._fds:  # it was given up meanwhile
            return
        introduced = "pidfd" in self._fds
        if answer is not None:
            self._locker.notes[memo.PID], self._locker.notes[memo.STARTED] = answer.pid, answer.started
            self._find()
        if error is not None or introduced:  # else it may still come to the door, and must be known there
            self._yard.door.execs.pop(self._locker.notes.exec_id, None)
        self._close_outer()
        if error is not None:
            owner = self._owner
            self.kill()  # an executor that died may have forked it
            self.close()
            if owner is not None:
                owner.failed(error)
            return
        _EXECUTED.passed()
        if self._locker.notes[memo.PHASE] != memo.LEFT:
            self._locker.notes[memo.PHASE] = memo.RUNS
        self._runs()

    def _find(self) -> None:
        """What the executor gave to a shim that died, or still gives to us."""
        pid, started = self._locker.notes[memo.PID], self._locker.notes[memo.STARTED]
        if "pidfd" in self._fds or not started:
            return
        try:
            pidfd = process.pidfd_open(pid)
        except ProcessLookupError:
            return
        if process.start_time(pid) == started:
            self._fds["pidfd"] = pidfd
        else:
            os.close(pidfd)

    def _runs(self) -> None:
        self._answered = True
        if self._owner is not None:
            if "link" in self._fds:
                self._take_terminal()
            self._open_streams()
            self._owner.started()
        for channel in self._outlets:
            self.go(channel)
        if self._status is not None:
            self._wind_up()
        elif "exit" not in self._fds:
            self._wait()

    def _take_terminal(self) -> None:
        """The master, which the process gave before it executed. It stays on the link for the next shim too."""
        with socket.socket(fileno=os.dup(self._fds["link"])) as link:
            try:
                _, passed = descriptors.recv(link, 1, flags=socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
        if passed:
            self.terminal = passed[0]
            resize(self.terminal, *self._size)

    def _open_streams(self) -> None:
        for channel in (STDOUT, STDERR):
            if f"kept-{channel}" in self._fds:
                self._kept[channel] = Kept(self._fds[f"kept-{channel}"], self._kind.limit)
            source = self._fds.get(f"out-{channel}", self.terminal if channel == STDOUT else -1)
            if source >= 0:
                stage = self._fds.get(f"stage-{channel}", -1)
                self._outlets[channel] = Outlet(self._yard.tools, source, stage, self._kept.get(channel))
        if "stdin-stage" in self._fds:
            self._open_stdin(self._fds["stdin-stage"])

    def _open_stdin(self, stage: int) -> None:
        if self.terminal >= 0:
            target = os.dup(self.terminal)

            def shut() -> None:
                os.close(target)
                self._locker.close("stdin-stage")
        elif "stdin" in self._fds:
            target = self._fds["stdin"]

            def shut() -> None:
                self._locker.close("stdin", "stdin-stage")
        else:
            return
        self.stdin = Inlet(self._loop, self._locker.notes, (stage, target), shut)

    def kept(self, channel: int) -> Kept | None:
        """Where a channel's output is kept; None for one that nobody wants."""
        return self._kept.get(channel)

    def resize(self, width: int, height: int) -> None:
        """Of the terminal, also of one that is not there yet."""
        self._size = (width, height)
        resize(self.terminal, width, height)

    def _close_outer(self) -> None:
        for fd in self._outer:
            os.close(fd)
        self._outer = []

    def go(self, channel: int) -> None:
        """The owner can take more of this channel."""
        if self._answered and channel in self._outlets and self._owner is not None:

            def ready(_: int) -> None:
                self._read(channel)

            self._loop.watch(self._outlets[channel].source, READ, ready)
            self._read_staged(channel)

    def _read_staged(self, channel: int) -> None:
        """What no event tells of: a shim that was killed had taken it off the terminal, or its owner wanted less."""
        if channel in self._outlets and self._outlets[channel].staged():
            self._loop.soon(lambda: self._read(channel))

    def _read(self, channel: int) -> None:
        """One block, if the owner wants one now."""
        outlet = self._outlets.get(channel)
        if outlet is None:
            return
        wanted = self._owner.readable(channel) if self._owner is not None else 0
        if not wanted:
            self._loop.forget(outlet.source)
            return
        most = min(BLOCK, wanted, self._left.get(channel, BLOCK))
        moved = outlet.move(most) if most else None
        if moved and self._owner is not None:
            self._owner.output(channel)
        if moved == 0:
            self._shut(channel)
        elif self._status is not None:
            self._count(channel, moved or most)
        self._read_staged(channel)
        self._finish()

    def _count(self, channel: int, taken: int) -> None:
        """After the exit only what was there then is read: others may hold the stream for ever."""
        if channel in self._left:
            self._left[channel] -= taken
            self._shut_if_over(channel)

    def _shut(self, channel: int) -> None:
        source = self._outlets.pop(channel).source
        self._loop.forget(source)
        if source == self.terminal:
            os.close(source)
            self.terminal = -1
            self._locker.close("link")
        else:
            self._locker.put_down(f"out-{channel}")

    def _exited(self, fd: int) -> None:
        """The fork server reaped it and wrote its status, which stays in the pipe for the next shim too;
        without one the server died, and the kernel tells."""
        self._loop.forget(self._fds["exit"])
        _EXITED.passed()
        data = self._yard.tools.peek(self._fds["exit"], 4)
        if len(data) == 4:
            self._exited_with(int.from_bytes(data, "little"))
            return
        self._locker.close("exit")
        if self._answered or self._over is not None:  # else the executor's answer says what became of it
            self._wait()

    def _dead(self, events: int) -> None:
        status = process.pidfd_exit(self._fds["pidfd"])
        if status is None and not events & HANGUP and process.remembers_exits():
            self._loop.watch(self._fds["pidfd"], 0, self._dead)  # not reaped yet: that is told as a hang-up
            return
        self._loop.forget(self._fds["pidfd"])
        self._exited_with(_UNKNOWN << 8 if status is None else status)

    def _exited_with(self, status: int) -> None:
        self._status = status
        if self._over is not None:
            self._over()
        elif self._answered:
            self._wind_up()

    def _wind_up(self) -> None:
        """It is dead: what it wrote is in the pipes."""
        for channel, outlet in list(self._outlets.items()):
            # How much is in a terminal nobody can ask: its reader's side takes 4 KiB, and more waits behind that.
            self._left[channel] = _TERMINAL_HOLDS if outlet.source == self.terminal else outlet.waiting()
            self._shut_if_over(channel)
        self._finish()

    def _shut_if_over(self, channel: int) -> None:
        """After the exit: nothing is left of what was there then."""
        if self._left[channel] <= 0 or (self._outlets[channel].source == self.terminal and self._silent(channel)):
            self._shut(channel)

    def _silent(self, channel: int) -> bool:
        """Whether nothing is in the terminal or its stage: to look brings what was written before to the reader's
        side (n_tty_poll)."""
        look = select.poll()
        look.register(self.terminal, select.POLLIN)
        return not any(events & select.POLLIN for _, events in look.poll(0)) and not self._outlets[channel].waiting()

    def _finish(self) -> None:
        if self._status is None or self._outlets or self._owner is None:
            return
        status, owner = self._status, self._owner
        self.close()
        owner.ended(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))

    def kill(self) -> None:
        """SIGKILL to its process group; nothing if it is over."""
        self._find()
        if "pidfd" not in self._fds:
            return
        try:
            number = libc.SYS_PIDFD_SEND_SIGNAL
            libc.call("pidfd_send_signal", number, self._fds["pidfd"], signal.SIGKILL, None, _PROCESS_GROUP)
        except ProcessLookupError:
            return
        except OSError:  # EINVAL before Linux 6.9: then only the process itself, by a name that cannot be reused
            process.pidfd_send_signal(self._fds["pidfd"], signal.SIGKILL)

    def close(self) -> None:
        """Nobody wants to know of it any more. Idempotent."""
        self._owner = None
        self._yard.door.execs.pop(self._locker.notes.exec_id, None)
        for channel in list(self._outlets):
            self._shut(channel)
        if self.stdin is not None:
            self.stdin.close()
        self._close_outer()
        for part in ("exit", "pidfd"):
            if part in self._fds:
                self._loop.forget(self._fds[part])

    def leave(self, over: Callable[[], None]) -> None:
        """Let go of its streams: it reads ends and writes into nothing. `over` once it has ended.

        One that executes may go on, so its exit is still waited for: whose exit nobody waits for is killed.
        """
        ended = self._status is not None or ("exit" not in self._fds and "pidfd" not in self._fds)
        begun = self._answered or self._locker.notes[memo.PHASE] == memo.LEFT
        self.close()
        if ended or not begun:
            over()
            return
        self._over = over
        self._locker.notes[memo.PHASE] = memo.LEFT
        self._locker.close(*ends.PASSING)
        self._wait()
