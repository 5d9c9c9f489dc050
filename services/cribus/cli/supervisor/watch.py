"""supervisord's watch over what it started: who gives no sign of life (hung.py) is killed, and started anew.

The services write their signs of life to the node's page (pulse.py); nats-server is asked, over a connection
of our own; the guard above us is watched too. What a kill does not end, because it hangs in the kernel, gets
a successor beside it: it will never run again, and its generation is over.
"""

import json
import os
import signal
import socket
import time
from typing import Any

from cribus import hung
from cribus.linux import process
from cribus.pulse import EVERY, GENERATION, Page

_SETTLED = 10.0  # seconds of a nats-server's life before a complaint is about itself
_ROOM = 4 << 20  # bytes with which nats-server can go on
_UNDYING = 2.0  # seconds after which a killed process counts as one that hangs in the kernel
_RUNS = (10, 20)  # supervisord's states STARTING and RUNNING
# Only tests set it: no kill ends a process that hangs, as if it hung in the kernel; it may go on later.
_SPARED = bool(os.environ.get("CRIBUS_SPARED"))
_KILLED = 9  # the wait status of a process that SIGKILL ended


class Bus:
    """Whether nats-server answers. `beat` is as of the others: the moment of its last answer, 0 before the first.

    It may answer and store nothing: after a write that failed for want of room a stream takes no more, for ever.
    Who has to store something says so on the subject `stuck`.
    """

    def __init__(self, address: str, credentials: str, stuck: str = "") -> None:
        host, _, port = address.rpartition(":")
        self._where = (host.strip("[]"), int(port))
        self._credentials = credentials
        self._stuck = stuck
        self._complained = False
        self._sock: socket.socket | None = None
        self._said = b""
        self._greeting = b""  # to be sent when the server has introduced itself
        self.beat = 0

    def ask(self) -> None:
        """Take what it has answered, and ask again. Never waits."""
        try:
            if self._sock is None:
                self._open()
            self._hear()
            if self._sock is not None and not self._greeting:  # who asks before it has greeted is thrown out
                self._sock.send(b"PING\r\n")
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def _open(self) -> None:
        with open(self._credentials, "rb") as file:
            known = json.loads(file.read())
        sock = self._sock = socket.socket(socket.AF_INET6 if ":" in self._where[0] else socket.AF_INET)
        sock.setblocking(False)
        sock.connect_ex(self._where)
        self._said = b""
        login = {"user": known["user"], "pass": known["password"], "name": "cribus-supervisord", "verbose": False}
        listen = f"SUB {self._stuck} 1\r\n" if self._stuck else ""
        self._greeting = f"CONNECT {json.dumps(login)}\r\n{listen}".encode()

    def _hear(self) -> None:
        assert self._sock is not None
        try:
            while data := self._sock.recv(65536):
                self._said += data
            self.close()
        except BlockingIOError:
            *lines, self._said = self._said.split(b"\r\n")
            for line in lines:
                self._on_line(line)

    def _on_line(self, line: bytes) -> None:
        assert self._sock is not None
        if line.startswith(b"INFO") and self._greeting:
            self._sock.send(self._greeting)
            self._greeting = b""
        elif line == b"PING":
            self._sock.send(b"PONG\r\n")
        elif line == b"PONG":
            self.beat = time.monotonic_ns()
        elif line.startswith(b"MSG "):
            self._complained = True

    def wedged(self) -> str:
        """Why it must be started again although it answers: somebody has just complained, and there is room."""
        complained, self._complained = self._complained, False
        if not complained:
            return ""
        disk = os.statvfs(os.path.join(os.path.dirname(self._credentials), "jetstream"))
        return "it stores nothing, though its disk has room" if disk.f_bavail * disk.f_frsize >= _ROOM else ""

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None


class _Patient:
    """One service's process under watch, and since when it should be dead (monotonic; 0.0: it need not be)."""

    __slots__ = ("killed", "since", "watch")

    def __init__(self, pid: int) -> None:
        self.watch = hung.Watch(pid)
        self.since = time.monotonic()
        self.killed = 0.0


class Watchman:
    """`look` is to be called at least once a second."""

    def __init__(self, supervisor: Any, page: Page, bus: Bus | None) -> None:
        self._supervisor = supervisor
        self._page = page
        self._bus = bus
        self._patients: dict[str, _Patient] = {}
        self._guard = Above(page)
        self._next = 0.0

    def begin(self, program: Any) -> None:
        """A program is about to be started: its generation, which fences the one before."""
        self._page.ensure()
        generation = self._page.begin(program.config.name)
        program.config.environment = {**program.config.environment, GENERATION: str(generation)}
        if program.config.name == "nats" and self._bus is not None:
            self._bus.close()
            self._bus.beat = 0

    def look(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + EVERY * 0.9
        self._page.ensure()
        self._page.strike("supervisord")
        if self._bus is not None:
            self._bus.ask()
        for group in self._supervisor.process_groups.values():
            for program in group.processes.values():
                self._look_at(program)
        self._guard.look()

    def _look_at(self, program: Any) -> None:
        name, pid = program.config.name, program.pid
        patient = self._patients.get(name)
        if not pid:
            self._patients.pop(name, None)
            return
        if patient is None or patient.watch.pid != pid:
            patient = self._patients[name] = _Patient(pid)
        if patient.killed:
            self._still_there(program, patient)
        elif program.state in _RUNS:
            why = patient.watch.look(self._beat(name))
            if name == "nats" and self._bus is not None:
                complaint = self._bus.wedged()  # of what came before its start there may still be one
                why = why or (complaint if time.monotonic() - patient.since > _SETTLED else "")
            if why:
                self._supervisor.options.logger.warn(f"{name} ({pid}) hangs and is replaced: {why}")
                self._page.hung(name, why)
                patient.killed = time.monotonic()
                if not _SPARED:
                    hung.kill_pid(pid)

    def _beat(self, name: str) -> int:
        if name == "nats":
            return self._bus.beat if self._bus is not None else 0
        return self._page.beat(name)

    def _still_there(self, program: Any, patient: _Patient) -> None:
        """Killed, and not dead: it hangs in the kernel, and never comes back to do anything of its own."""
        if time.monotonic() - patient.killed < _UNDYING:
            return
        pid = patient.watch.pid
        state, _ = process.work(pid)
        if state in ("", "Z") or program.state not in _RUNS:
            return
        self._supervisor.options.logger.warn(
            f"{program.config.name} ({pid}) cannot be killed; another starts beside it"
        )
        self._supervisor.options.pidhistory.pop(pid, None)
        program.finish(pid, _KILLED)
        del self._patients[program.config.name]


class Above:
    """The guard, as supervisord sees it. One that hangs is killed, and another started, which finds us."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._watch: hung.Watch | None = None
        self._pidfd = -1
        self._argv: list[str] = []

    def look(self) -> None:
        pid = self._page.pid("guard")
        if self._watch is None or self._watch.pid != pid:
            self._find(pid)
        if self._watch is None:
            return
        why = self._watch.look(self._page.beat("guard"))
        if not why:
            return
        self._page.hung("guard", why)
        hung.kill(self._pidfd)
        if "--stay" not in self._argv:  # else the service manager starts another
            argv = [self._argv[0], "-m", "cribus.cli.supervisor.daemon", self._argv[-1]]
            os.posix_spawn(argv[0], argv, os.environ, setsid=True, setsigmask=[], setsigdef=[signal.SIGTERM])
        self._lose()

    def _find(self, pid: int) -> None:
        self._lose()
        try:
            self._pidfd = process.pidfd_open(pid) if pid else -1
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                argv = [os.fsdecode(word) for word in file.read().split(b"\0") if word]
        except (FileNotFoundError, ProcessLookupError):
            argv = []
        if self._pidfd >= 0 and "cribus.cli.supervisor.daemon" in argv and "--inner" not in argv:
            self._argv = argv
            self._watch = hung.Watch(pid)
        elif self._pidfd >= 0:
            self._lose()

    def _lose(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
        self._pidfd, self._watch = -1, None
