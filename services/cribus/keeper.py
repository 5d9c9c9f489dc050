"""The keeper: parent of one container's init and store of its descriptors.

It makes nothing itself. The executor gives it the outer ends of the container's streams and what to
start; the shim fetches copies and may leave things of its own here, which is how the next shim goes on
where one was killed. It has no bus and no logic, so nothing gives it a reason to die.

Protocol, SEQPACKET on `keeper.sock` in the container's run directory, one request a packet:

    get [N]            → "name\\nname\\n…" with that many descriptors (SCM_RIGHTS), in the same order; at
                         most 200 from the Nth on: who got so many asks for more
    put NAME   +1 fd   → "ok"; replaces what had that name
    keep NAMES +fds    → nothing; as put, for several names, one a line
    drop NAMES         → nothing; closes these, and with a name that ends in "." all that begin so
    drop @PROGRAM N    → nothing; from here on this is generation N of a program (pulse.py). One that has a
                         successor, here or on the node's page, is heard no longer: its connection is closed
    end                → "ok"; everything is closed, and the keeper ends once init has

    pidfd    of init                        sync     read end of init's error pipe
    stdin    write end   (or absent)        stdout, stderr   read ends
    console  pty master, instead of those three

When init has exited, `exit.json` appears by rename: {"code":0,"signal":0,"at":ns since the epoch}, where
code is 128 + signal for one that was killed.

What `main` gets: {"run": index of the run directory, "answer": index of a SEQPACKET socket, "hold":
{name: index}, "spare": [indexes only kept open until init was made], "title": str, "init": {"main":
"module:function", "request": {…}, "fds": [indexes], "flags": clone3's, "pidns": index or -1, "link": bool}}. With
"link" init's last descriptor is a socket to the keeper, for the pty master. On `answer` goes init's pid
with its pidfd, or "error …". Descriptors that nobody mentions stay open as long as the keeper lives.

A keeper's working directory is the container's run directory, which tells whose it is also when that was
deleted. On SIGHUP it listens anew in the directory that has this path then, and writes `exit.json` there,
if init has exited: so whoever makes the directory again finds what it was for.

When a keeper is killed the shim starts another in its place (`stand_in`), which gets all that the shim has
copies of. It is not init's parent: who is, a subreaper, reaps it, and the kernel tells of its end whoever
has a pidfd.

With "orphan": path in init's place, "main" runs an outside runtime, which makes init, writes its pid into
that file and ends: init is then an orphan, and becomes the keeper's child.
"""

import contextlib
import os
import resource
import select
import signal
import socket
import sys
import time

from cribus import pulse
from cribus.linux import fds as descriptors
from cribus.linux import files, namespaces, process
from cribus.steps import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SOCKET = "keeper.sock"
EXIT = "exit.json"
ALIVE = "alive"  # a fifo that every keeper of the container has open for writing
ANEW = signal.SIGHUP
_PAGE = 200  # descriptors in one packet, which carries 253
_MOST = 4096  # descriptors at all, as far as the limit of open files allows
_IGNORED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE)
_LISTENING = Step("keeper.create.listening")
_INIT = Step("keeper.create.init")
_ANSWERED = Step("keeper.create.answered")
_PUT = Step("keeper.hold.put")
_REAPED = Step("keeper.exit.reaped")
_WRITTEN = Step("keeper.exit.written")
_ENDING = Step("keeper.end.told")


class _Init:
    """The container's first process, as its parent sees it."""

    __slots__ = ("exited", "link", "pid", "pidfd")

    def __init__(self, pid: int, pidfd: int, link: socket.socket | None) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.link = link
        self.exited = False


def main(request: "dict[str, Any]", fds: list[int]) -> int:
    """The keeper's whole life (run by the fork server)."""
    os.setsid()
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    process.set_name("keeper")
    process.set_title(request["title"])
    run = fds[request["run"]]
    answer = socket.socket(fileno=fds[request["answer"]])
    hold = {name: fds[index] for name, index in request["hold"].items()}
    try:
        with _LISTENING.of():
            listener = descriptors.listen_at(run, SOCKET)
        with _INIT.of():
            start = _start_outside if request["init"].get("orphan") else _start
            init = start(request["init"], fds)
    except OSError as error:
        descriptors.send(answer, " ".join(filter(None, ("error", error.filename, error.strerror))).encode())
        return 1
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a new executor will ask keeper.sock
        descriptors.send(answer, b"%d" % init.pid, [init.pidfd])
    _ANSWERED.passed()
    answer.close()
    for fd in [fds[index] for index in request["spare"]] + [fds[index] for index in request["init"]["fds"]]:
        os.close(fd)
    _more_files()
    _Store(run, listener, init, hold).serve()
    return 0


def _start(what: "dict[str, Any]", fds: list[int]) -> _Init:
    """clone3 init into its namespaces; in the child this does not return."""
    module, _, name = what["main"].partition(":")
    function = getattr(sys.modules[module], name)  # the fork server has it: nothing is imported here
    passed = [fds[index] for index in what["fds"]]
    ours = theirs = None
    if what["link"]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        passed.append(theirs.fileno())
    if what["pidns"] >= 0:
        namespaces.setns(fds[what["pidns"]], namespaces.CLONE_NEWPID)
    pid, pidfd = namespaces.clone3(what["flags"])
    if pid == 0:
        code = 70
        try:
            code = function(what["request"], passed) or 0
        finally:
            os._exit(code)
    if theirs is not None:
        theirs.close()
    return _Init(pid, pidfd, ours)


def _start_outside(what: "dict[str, Any]", fds: list[int]) -> _Init:
    """Run the outside runtime to its end, and take over what it left. Raises OSError, with why as its text."""
    process.set_subreaper()
    runtime = _start(what, fds)
    code = os.waitstatus_to_exitcode(os.waitpid(runtime.pid, 0)[1])
    os.close(runtime.pidfd)
    if code:
        raise OSError(0, f"the runtime ended with {code}", "create")
    pid = int(files.read(what["orphan"]))
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError as error:
        raise OSError(0, f"process {pid} is not the runtime's child", "create") from error
    process.set_subreaper(on=False)  # later orphans are the host's affair
    return _Init(pid, process.pidfd_open(pid), None)


def _status(pid: int) -> int:
    """The wait status of a child that has ended, which stays to be reaped."""
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None  # without WNOHANG
    return ended.si_status << 8 if ended.si_code == os.CLD_EXITED else ended.si_status


def stand_in(run: int, ready: int, hold: "dict[str, int]") -> None:
    """The whole life of a keeper in place of one that was killed. `hold` has init's pidfd; `run` is the run
    directory's descriptor, `ready` that of a pipe on which it says that it listens. Raises OSError."""
    os.setsid()
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    listener = descriptors.listen_at(run, SOCKET)
    with contextlib.suppress(BrokenPipeError):  # the shim was killed meanwhile; the next one finds the socket
        os.write(ready, b"1")
    os.close(ready)
    _more_files()
    _Store(run, listener, _Init(0, hold["pidfd"], None), hold).serve()


def introduce(sock: socket.socket) -> None:
    """Say to a keeper as which generation of which program we speak. One of a version that does not know the word
    takes it for a name that it does not hold. Raises OSError."""
    program, generation = pulse.mark()
    if generation:
        descriptors.send(sock, b"drop @%s %d" % (program.encode(), generation))


def _more_files() -> None:
    """Than usual may be open here: after init was made, which has the limits of its spec."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 2 * _MOST), most))


class _Store:
    """Serves the protocol until told to end."""

    def __init__(self, run: int, listener: socket.socket, init: _Init, hold: dict[str, int]) -> None:
        self._run = run
        self._listener = listener
        self._init = init
        self._hold = {**hold, "pidfd": init.pidfd}
        self._clients: dict[int, socket.socket] = {}
        self._speakers: dict[int, tuple[str, int]] = {}  # a client → generation of a program
        self._newest: dict[str, int] = {}
        self._ending = False
        self._exit = b""  # what exit.json says
        os.fchdir(run)
        self._alive = -1  # or the fifo, opened anew
        self._anew = process.signal_fd(ANEW)
        signal.signal(ANEW, signal.SIG_DFL)
        self._poll = select.poll()
        listener.setblocking(False)
        for fd in (listener.fileno(), init.pidfd, self._anew, *([init.link.fileno()] if init.link else [])):
            self._poll.register(fd, select.POLLIN)

    def serve(self) -> None:
        while not (self._ending and self._init.exited):
            for fd, events in self._poll.poll():
                if fd == self._init.pidfd:
                    self._reap(events)
                elif self._init.link is not None and fd == self._init.link.fileno():
                    self._console(self._init.link)
                elif fd == self._anew:
                    self._listen_anew()
                elif fd in self._clients:
                    self._serve_one(self._clients[fd])
                elif not self._ending:
                    self._accept()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # nobody is there (any more), or descriptors are short
            client, _ = self._listener.accept()
            client.setblocking(False)
            self._clients[client.fileno()] = client
            self._poll.register(client, select.POLLIN)

    def _forget(self, client: socket.socket) -> None:
        self._poll.unregister(client)
        del self._clients[client.fileno()]
        self._speakers.pop(client.fileno(), None)
        client.close()

    def _reap(self, events: int) -> None:
        """Init died: tell its status, then reap it, so that another can where we are killed in between. Where
        it is not our child, hear of who reaped it."""
        self._poll.unregister(self._init.pidfd)
        if self._init.pid:
            self._tell(_status(self._init.pid))
            with _REAPED.of():
                os.waitpid(self._init.pid, 0)
        else:
            found = process.pidfd_exit(self._init.pidfd)
            if found is None and not self._ending and process.remembers_exits() and not events & select.POLLHUP:
                self._poll.register(self._init.pidfd, 0)  # a hang-up tells that it was reaped
                return
            if found is not None:
                self._tell(found)
        self._init.exited = True

    def _tell(self, status: int) -> None:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        code = 128 + number if number else os.WEXITSTATUS(status)
        self._exit = f'{{"code":{code},"signal":{number},"at":{time.time_ns()}}}'.encode()
        with _WRITTEN.of(), contextlib.suppress(FileNotFoundError):  # the directory is gone: who makes it anew will ask
            files.write_atomic_at(self._run, EXIT, self._exit)

    def _listen_anew(self) -> None:
        """In the directory that has our path now. Where there is none, whoever asked has gone too."""
        os.read(self._anew, 128)
        if self._ending:
            return
        with contextlib.suppress(OSError):
            run = os.open(process.home(os.getpid()), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._run, before = run, self._run
            os.close(before)
            os.fchdir(run)
            if self._exit:
                files.write_atomic_at(run, EXIT, self._exit)
            with contextlib.suppress(FileExistsError):
                os.mkfifo(ALIVE, 0o600)
            self._alive, before = os.open(ALIVE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC), self._alive
            if before >= 0:
                os.close(before)
            listener = descriptors.listen_at(run, SOCKET)
            listener.setblocking(False)  # of those whom the old one had not yet accepted nobody is there
            self._poll.unregister(self._listener)
            self._poll.register(listener, select.POLLIN)
            self._listener.close()
            self._listener = listener

    def _console(self, link: socket.socket) -> None:
        """The pty's master comes from init, which made it in the container's own devpts."""
        try:
            data, fds = descriptors.recv(link, 1)
        except OSError:
            data, fds = b"", []
        if data == b"console" and fds:
            self._hold["console"] = fds[0]
        self._poll.unregister(link)
        link.close()
        self._init.link = None

    def _serve_one(self, client: socket.socket) -> None:
        """All that it has said: what a shim that died had left must be here before its successor asks."""
        try:
            while client.fileno() in self._clients and not self._ending:
                data, fds = descriptors.recv(client)
                if data.startswith(b"drop @"):
                    self._introduced(client, data)
                if data and not self._past(client):
                    self._do(client, data, fds)
                    continue
                for fd in fds:
                    os.close(fd)
                self._forget(client)
        except BlockingIOError:
            return
        except OSError:  # a client that died or does not read is no concern of the container's
            self._forget(client)
            return
        if self._ending:
            self._end()

    def _introduced(self, client: socket.socket, data: bytes) -> None:
        program, _, number = data.decode(errors="replace").removeprefix("drop @").partition(" ")
        if number.isdigit():
            self._speakers[client.fileno()] = (program, int(number))
            of_node = pulse.Page(f"/proc/self/fd/{self._run}/../..").generation(program)
            self._newest[program] = of_node or max(int(number), self._newest.get(program, 0))

    def _past(self, client: socket.socket) -> bool:
        """Whether it is a process that has a successor: it may want what no longer holds."""
        program, generation = self._speakers.get(client.fileno(), ("", 0))
        return generation != self._newest.get(program, 0)

    def _do(self, client: socket.socket, data: bytes, fds: list[int]) -> None:
        word, _, rest = data.decode(errors="replace").partition(" ")
        if word == "keep":
            self._keep(rest.split("\n"), fds)
        elif word == "drop":
            self._drop(rest.split("\n"))
        else:
            names, passed = self._asked(word, rest, fds)
            descriptors.send(client, names, passed)

    def _asked(self, word: str, rest: str, fds: list[int]) -> tuple[bytes, list[int]]:
        """One request: what to answer, with which descriptors."""
        if word == "put" and rest and len(fds) == 1:
            self._keep([rest], fds)
            return b"ok", []
        for fd in fds:
            os.close(fd)
        if word == "get" and (rest or "0").isdigit():
            names = list(self._hold)[int(rest or "0") :][:_PAGE]
            return "".join(f"{name}\n" for name in names).encode() or b"\n", [self._hold[name] for name in names]
        if word == "end":
            self._ending = True
            _ENDING.passed()
            return b"ok", []
        return b"error: the requests are get, put NAME with one descriptor, keep, drop, end", []

    def _keep(self, names: list[str], fds: list[int]) -> None:
        """Hold these, instead of what had their names."""
        for name, fd in zip(names, fds, strict=False):
            if len(self._hold) < _MOST or name in self._hold:
                self._let_go(name)
                self._hold[name] = fd
                _PUT.passed()
            else:
                os.close(fd)

    def _drop(self, names: list[str]) -> None:
        for name in names:
            for one in [one for one in self._hold if one == name or (name[-1:] == "." and one.startswith(name))]:
                self._let_go(one)

    def _let_go(self, name: str) -> None:
        fd = self._hold.pop(name, -1)
        if fd >= 0 and fd != self._init.pidfd:
            os.close(fd)

    def _end(self) -> None:
        """Close everything but what the wait for init needs."""
        for client in list(self._clients.values()):
            self._forget(client)
        self._poll.unregister(self._listener)
        self._listener.close()
        for name in list(self._hold):
            self._let_go(name)
        if not self._init.exited:  # nobody wants to hear of who reaps it any more, which may take long
            self._poll.register(self._init.pidfd, select.POLLIN)
