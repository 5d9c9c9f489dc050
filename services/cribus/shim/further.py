"""One further process in a container: the shim makes its streams and sees its end, the executor forks."""

import fcntl
import os
import signal
import socket
import struct
from collections.abc import Callable
from typing import Protocol

from cribus.api.executor import Exec, Execed
from cribus.errors import CribusError
from cribus.linux import fds as descriptors
from cribus.linux import libc, process
from cribus.shim.attach import resize
from cribus.shim.door import Door
from cribus.shim.loop import READ, Loop, Timer
from cribus.shim.session import STDERR, STDOUT
from cribus.shim.writer import Writer
from cribus.steps import Step

FORKING = 60.0  # seconds for the executor's answer
BLOCK = 65536  # bytes of one read
_FIONREAD = 0x541B
_TERMINAL_REST = 0.1  # seconds in which a dead process's last words pass the terminal
_PROCESS_GROUP = 4  # PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9
_UNKNOWN = 255

Fork = Callable[[Exec, Callable[[Execed | None, CribusError | None], None]], None]
_ASKED = Step("shim.exec.asked")
_FORKED = Step("shim.exec.forked")
_EXECUTED = Step("shim.exec.executed")
_EXITED = Step("shim.exec.exited")


class Wanted(Protocol):
    """What the owner of a process does with its news."""

    def started(self) -> None: ...
    def readable(self, channel: int) -> bool: ...  # False: not now, look again when `Process.go` says
    def output(self, channel: int, data: bytes) -> None: ...
    def ended(self, code: int) -> None: ...
    def failed(self, error: CribusError) -> None: ...


class Yard:
    """Where processes are made: a pod's loop and door, and the executor."""

    def __init__(self, loop: Loop, pod: str, door: Door, fork: Fork) -> None:
        self.loop = loop
        self.pod = pod
        self.door = door
        self.fork = fork


class Kind:
    """How a process's streams are made."""

    __slots__ = ("stdin", "tty")

    def __init__(self, *, tty: bool = False, stdin: bool = False) -> None:
        self.tty = tty
        self.stdin = stdin


class Process:
    """One process, from its streams to its exit code. Tells `owner` `failed` or `ended`, once."""

    def __init__(self, yard: Yard, kind: Kind, owner: Wanted) -> None:
        self.stdin: Writer | None = None
        self.terminal = -1
        self._yard = yard
        self._loop = yard.loop
        self._owner: Wanted | None = owner
        self._id = os.urandom(16).hex()
        self._outer: list[int] = []
        self._sources: dict[int, int] = {}  # channel → descriptor that we read
        self._left: dict[int, int] = {}  # channel → bytes still wanted after the exit
        self._pidfd = -1
        self._status: int | None = None
        self._answered = False
        self._timer: Timer | None = None
        self._kind = kind
        self._link: socket.socket | None = None
        self._size = (0, 0)
        self._exit, exit_outer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        if kind.tty:
            self._open_link()
        else:
            self._open_pipes(kind)
        self._outer.append(exit_outer)

    def _open_link(self) -> None:
        """The terminal is made in the container, and comes to us on a socket."""
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._link.setblocking(False)
        self._outer = [theirs.detach()]

    def _open_pipes(self, kind: Kind) -> None:
        if kind.stdin:
            theirs, ours = os.pipe2(os.O_CLOEXEC)
            self.stdin = Writer(self._loop, ours)
        else:
            theirs = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._outer = [theirs]
        for channel in (STDOUT, STDERR):
            ours, theirs = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(ours, False)
            self._sources[channel] = ours
            self._outer.append(theirs)

    def start(self, container: str, args: list[str]) -> None:
        """Ask the executor for it."""
        self._yard.door.execs[self._id] = self
        wanted = Exec(container=container, pod=self._yard.pod, exec_id=self._id, args=args, tty=self._kind.tty)
        self._loop.watch(self._exit, READ, self._exited)
        with _ASKED.of(container):
            self._yard.fork(wanted, self._forked_or_not)

    def outer(self) -> list[int]:
        return self._outer

    def forked(self, pid: int, pidfd: int) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
        self._pidfd = pidfd
        _FORKED.passed()
        if self._answered:  # the bus was faster than the door
            self._yard.door.execs.pop(self._id, None)
            if self._exit < 0 and self._status is None:
                self._loop.watch(self._pidfd, READ, self._dead)

    def _forked_or_not(self, answer: Execed | None, error: CribusError | None) -> None:
        if error is not None or self._pidfd >= 0:
            self._yard.door.execs.pop(self._id, None)
        self._close_outer()
        if error is not None:
            owner = self._owner
            self.kill()  # an executor that died may have forked it
            self.close()
            if owner is not None:
                owner.failed(error)
            return
        self._answered = True
        _EXECUTED.passed()
        if self._link is not None:
            self._take_terminal(self._link)
        if self._owner is not None:
            self._owner.started()
        for channel, fd in self._sources.items():
            self._watch(channel, fd)
        if self._status is not None:
            self._wind_up()

    def _take_terminal(self, link: socket.socket) -> None:
        """The master, which the process gave before it executed."""
        self._link = None
        with link:
            try:
                _, passed = descriptors.recv(link, 1)
            except BlockingIOError:
                return
        if passed and self._owner is None:
            os.close(passed[0])
        elif passed:
            self.terminal = self._sources[STDOUT] = passed[0]
            os.set_blocking(self.terminal, False)
            if self._kind.stdin:
                self.stdin = Writer(self._loop, os.dup(self.terminal))
            resize(self.terminal, *self._size)

    def resize(self, width: int, height: int) -> None:
        """Of the terminal, also of one that is not there yet."""
        self._size = (width, height)
        resize(self.terminal, width, height)

    def _close_outer(self) -> None:
        for fd in self._outer:
            os.close(fd)
        self._outer = []

    def _watch(self, channel: int, fd: int) -> None:
        def ready(_: int) -> None:
            self._read(channel)

        self._loop.watch(fd, READ, ready)

    def _read(self, channel: int) -> None:
        """One block, if the owner wants one now."""
        fd = self._sources[channel]
        if self._owner is None or not self._owner.readable(channel):
            self._loop.forget(fd)
            return
        most = min(BLOCK, self._left.get(channel, BLOCK))
        try:
            data = os.read(fd, most) if most else b""
        except BlockingIOError:
            data = None
        except OSError:  # EIO: nobody has the terminal any more
            data = b""
        if data:
            self._owner.output(channel, data)
        if data == b"":
            self._shut(channel)
        elif self._status is not None:
            self._count(channel, len(data) if data else most)
        self._finish()

    def _count(self, channel: int, taken: int) -> None:
        """After the exit only what was there then is read: others may hold the stream for ever."""
        if channel in self._left:
            self._left[channel] -= taken
            if self._left[channel] <= 0:
                self._shut(channel)

    def _shut(self, channel: int) -> None:
        fd = self._sources.pop(channel)
        self._loop.forget(fd)
        os.close(fd)
        if fd == self.terminal:
            self.terminal = -1

    def go(self, channel: int) -> None:
        """The owner can take more of this channel."""
        if self._answered and channel in self._sources:
            self._watch(channel, self._sources[channel])

    def _exited(self, _: int) -> None:
        """The fork server reaped it and wrote its status; without one the server died, and the kernel tells."""
        data = os.read(self._exit, 4)
        self._close_exit()
        if self._owner is None:
            return
        if len(data) == 4:
            self._exited_with(int.from_bytes(data, "little"))
        elif self._pidfd >= 0:
            self._loop.watch(self._pidfd, READ, self._dead)
        # else the executor's answer says what became of it

    def _dead(self, _: int) -> None:
        status = process.pidfd_exit(self._pidfd)
        if status is None:  # not reaped yet: that is told as a hang-up
            self._loop.watch(self._pidfd, 0, self._dead)
            return
        self._loop.forget(self._pidfd)
        self._exited_with(status)

    def _exited_with(self, status: int) -> None:
        self._status = status
        _EXITED.passed()
        if self._answered:
            self._wind_up()

    def _wind_up(self) -> None:
        """It is dead: what it wrote is in the pipes."""
        for channel, fd in list(self._sources.items()):
            if fd == self.terminal:
                self._timer = self._loop.later(_TERMINAL_REST, self._terminal_rested)
                continue
            self._left[channel] = struct.unpack("i", fcntl.ioctl(fd, _FIONREAD, b"\0\0\0\0"))[0]
            if self._left[channel] == 0:
                self._shut(channel)
        self._finish()

    def _terminal_rested(self) -> None:
        """What is in the terminal now is the last of it."""
        if STDOUT in self._sources:
            self._left[STDOUT] = struct.unpack("i", fcntl.ioctl(self.terminal, _FIONREAD, b"\0\0\0\0"))[0]
            if self._left[STDOUT] == 0:
                self._shut(STDOUT)
        self._finish()

    def _finish(self) -> None:
        if self._status is None or self._sources or self._owner is None:
            return
        status, owner = self._status, self._owner
        self.close()
        owner.ended(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))

    def kill(self) -> None:
        """SIGKILL to its process group; nothing if it is over."""
        if self._pidfd < 0:
            return
        try:
            number = libc.SYS_PIDFD_SEND_SIGNAL
            libc.call("pidfd_send_signal", number, self._pidfd, signal.SIGKILL, None, _PROCESS_GROUP)
        except ProcessLookupError:
            return
        except OSError:  # EINVAL before Linux 6.9: then only the process itself, by a name that cannot be reused
            process.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Let go of everything; the process reads ends and writes into nothing. Idempotent.

        One that executes may go on, so its exit is still waited for: whose exit nobody waits for is killed.
        """
        self._owner = None
        self._yard.door.execs.pop(self._id, None)
        if self._timer is not None:
            self._timer.cancel()
        for channel in list(self._sources):
            self._shut(channel)
        if self.stdin is not None:
            self.stdin.close()
        if self._link is not None:
            self._link.close()
            self._link = None
        self._close_outer()
        if self._pidfd >= 0:
            self._loop.forget(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        if not self._answered:
            self._close_exit()

    def _close_exit(self) -> None:
        if self._exit >= 0:
            self._loop.forget(self._exit)
            os.close(self._exit)
            self._exit = -1
