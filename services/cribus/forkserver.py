"""A small process that forks smaller ones, started before anything heavy was imported.

    server = start(preload=["cribus.keeper"])                  # first thing in a __main__
    child = await server.run("cribus.keeper:main", request, fds)   # → Spawned(pid, pidfd)

Protocol, over a SEQPACKET socketpair; every packet is msgpack:

    client → server   [id, "module:function", request] + descriptors
    server → client   [id, pid, errno, text] + pidfd

    server → client   [0, pid, status, start time]         on a kernel that forgets how processes ended: an orphan did

A request of more than 64 KiB travels in a memfd, as the first descriptor of an empty packet. The child
gets `function(request, fds)` and ends with what that returns as its exit code. In a request:
`_exit_fd` is the index of a descriptor to which the server writes the wait status (4 bytes, little
endian) once it reaped the child; a child whose status nobody can read any more is killed, with its
process group. `_pidns` is the index of a pidfd or namespace descriptor in whose PID
namespace the child is born; `_hooks` true runs Python's at-fork hooks, for a child that lives long and
does more than system calls.

The server is a subreaper: what a killed child leaves behind is reaped here, at once. It ends when the
client's end of the socketpair is closed; its children live on. A client whose server has gone learns it
by `Server.closed` and must end too: what it forks would have the wrong parent. The server gives signs of
life in memory that both share; one that hangs is killed by its client (`Server.look`), and so has gone.
Belongs here: nothing that knows what is forked.
"""

import contextlib
import mmap
import os
import select
import signal
import socket
import struct
import sys
import time

import msgpack

from cribus import hung, pulse
from cribus.linux import fds as descriptors
from cribus.linux import namespaces, process
from cribus.steps import Step, kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    Main = Callable[[dict[str, Any], list[int]], int | None]

ORDERED = "cribus.forkserver:ordered"
_INLINE = 65536  # bytes of a request that travel in the packet itself
_SPILLED = b"\xc0"  # the packet of one that does not
_BYTES = "surrogateescape"  # an environment may hold bytes that are no text: they come out as they were
_BEAT = struct.Struct("<Q")  # monotonic ns
_FORKED = Step("forkserver.run.forked")
_ANSWERED = Step("forkserver.run.answered")
_REAPED = Step("forkserver.run.reaped")


class Spawned:
    """A child of the fork server. `pidfd` belongs to whoever asked for it."""

    __slots__ = ("pid", "pidfd")

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.pidfd = pidfd


class Server:
    """The client's half, for one asyncio loop."""

    def __init__(self, sock: socket.socket, pid: int, beats: mmap.mmap) -> None:
        self.pid = pid
        self._sock = sock
        self._beats = beats
        self._watch = hung.Watch(pid)
        self.on_orphan: Callable[[int, int, int], None] = lambda pid, started, status: None
        self._last = 0
        self._waiting: dict[int, asyncio.Future[Spawned]] = {}
        self._closed: asyncio.Future[None] | None = None
        self._lock: asyncio.Lock | None = None

    @property
    def closed(self) -> "asyncio.Future[None]":
        """Done when the server has gone. Asked for inside the loop that runs it."""
        if self._closed is None:
            import asyncio

            loop = asyncio.get_running_loop()
            self._closed = loop.create_future()
            self._lock = asyncio.Lock()
            self._sock.setblocking(False)
            loop.add_reader(self._sock, self._on_answer)
        return self._closed

    async def run(self, function: str, request: "dict[str, Any]", fds: "Sequence[int]" = ()) -> Spawned:
        """Fork a child that runs `function` ("module:name"). The descriptors stay the caller's.

        Raises OSError when the kernel refuses, ConnectionError when the server has gone.
        """
        closed = self.closed
        if closed.done():
            raise ConnectionError("the fork server has gone; this service must be started again")
        self._last += 1
        future: asyncio.Future[Spawned] = closed.get_loop().create_future()
        self._waiting[id := self._last] = future
        try:
            await self._send(pack([id, function, request]), list(fds))
            return await future
        finally:
            self._waiting.pop(id, None)

    async def _send(self, packed: bytes, fds: list[int]) -> None:
        assert self._lock is not None
        async with self._lock:
            with packet(packed) as (data, spilled):
                await self._send_packet(data, [*spilled, *fds])

    async def _send_packet(self, data: bytes, fds: list[int]) -> None:
        while True:
            try:
                descriptors.send(self._sock, data, fds)
                return
            except BlockingIOError:
                await self._writable()
            except (BrokenPipeError, ConnectionResetError) as error:
                raise ConnectionError("the fork server has gone; this service must be started again") from error

    async def _writable(self) -> None:
        loop = self.closed.get_loop()
        ready = loop.create_future()
        loop.add_writer(self._sock, lambda: None if ready.done() else ready.set_result(None))
        try:
            await ready
        finally:
            loop.remove_writer(self._sock)

    def _on_answer(self) -> None:
        try:
            data, fds = descriptors.recv(self._sock, 1)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self.close()
            return
        id, pid, number, text = msgpack.unpackb(data)
        if not id:
            self.on_orphan(pid, text, number)
            return
        future = self._waiting.pop(id, None)
        if future is None or future.done():
            for fd in fds:
                os.close(fd)
        elif pid:
            future.set_result(Spawned(pid, fds[0]))
        else:
            future.set_exception(OSError(number, text))

    def look(self) -> None:
        """To be called about once a second: a server that gives no sign of life is killed, and has gone."""
        closed = self._closed
        if closed is None or closed.done():
            return
        why = self._watch.look(_BEAT.unpack_from(self._beats)[0])
        if why:
            if pulse.own is not None:
                pulse.own.page.hung(pulse.own.name, f"its fork server: {why}")
            hung.kill_pid(self.pid)  # its parent are we, and nobody reaps it before we end

    def close(self) -> None:
        """Let the server end. Its children live on."""
        closed = self.closed
        if closed.done():
            return
        closed.get_loop().remove_reader(self._sock)
        self._sock.close()
        closed.set_result(None)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionError("the fork server died while it forked; it may have happened"))


@contextlib.contextmanager
def packet(packed: bytes) -> "Iterator[tuple[bytes, list[int]]]":
    """A request as it travels: what the packet says, and the descriptors that come first in it."""
    if len(packed) <= _INLINE:
        yield packed, []
        return
    spill = os.memfd_create("request")
    try:
        view = memoryview(packed)
        while view:
            view = view[os.write(spill, view) :]
        yield _SPILLED, [spill]
    finally:
        os.close(spill)


def start(preload: "Sequence[str]") -> Server:
    """Fork the server, which imports `preload`. To be called by a process with one thread."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    beats = mmap.mmap(-1, _BEAT.size)
    pid = os.fork()
    if pid:
        theirs.close()
        return Server(ours, pid, beats)
    code = 1
    try:
        ours.close()
        pulse.taken()  # the client's generation is not for what is forked here
        os.setsid()
        process.set_name("forkserver")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for name in preload:
            __import__(name)
        _Loop(theirs, beats).run()
        code = 0
    except BaseException:  # noqa: BLE001 - the last frame of a process: told to the log
        _complain()
    finally:
        os._exit(code)


def _complain() -> None:
    """Tell the log of a failure, the interpreter's own way."""
    sys.excepthook(*sys.exc_info())
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()


class _Loop:
    """The server's half: forks on request, reaps."""

    def __init__(self, sock: socket.socket, beats: mmap.mmap) -> None:
        self._sock = sock
        self._beats = beats
        self._own_pidns = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._exit_fds: dict[int, int] = {}  # pid → where its status goes
        self._children: set[int] = set()  # that it forked itself
        self._wanted: dict[int, int] = {}  # and back: the child lives while that has a reader
        self._woken, wake = os.pipe()
        for fd in (self._woken, wake):
            os.set_blocking(fd, False)
        process.set_subreaper()
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._poll.register(self._woken, select.POLLIN)

    def run(self) -> None:
        while True:
            _BEAT.pack_into(self._beats, 0, time.monotonic_ns())
            for fd, _ in self._poll.poll(pulse.EVERY * 1000):
                if fd == self._woken:
                    os.read(fd, 4096)
                    self._reap()
                elif fd in self._wanted:
                    self._kill(fd)
                elif fd == self._sock.fileno() and not self._request():
                    return

    def _reap(self) -> None:
        """Reap whoever has died: children, and orphans of children that were killed."""
        with contextlib.suppress(ChildProcessError):  # there are none left
            while True:
                pid, status = self._reap_one()
                if not pid:
                    return
                _REAPED.passed()
                self._children.discard(pid)
                exit_fd = self._exit_fds.pop(pid, -1)
                if exit_fd >= 0:
                    with contextlib.suppress(OSError):  # nobody reads any more
                        os.write(exit_fd, status.to_bytes(4, "little"))
                    if self._wanted.pop(exit_fd, 0):
                        self._poll.unregister(exit_fd)
                    os.close(exit_fd)

    def _reap_one(self) -> tuple[int, int]:
        """(pid, status), or (0, 0). On an old kernel this may be the only witness of how an orphan ended."""
        if process.remembers_exits():
            return os.waitpid(-1, os.WNOHANG)
        died = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if died is None:
            return 0, 0
        started = process.start_time(died.si_pid)
        pid, status = os.waitpid(died.si_pid, 0)
        if pid not in self._children:
            self._answer([0, pid, status, started], [])
        return pid, status

    def _kill(self, exit_fd: int) -> None:
        """Whoever wanted this child has died. It is not reaped yet, so the pid is still its own."""
        pid = self._wanted.pop(exit_fd)
        self._poll.unregister(exit_fd)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            os.killpg(pid, signal.SIGKILL)  # no such group: it has not made one yet

    def _request(self) -> bool:
        """Serve one request; False when the client has gone."""
        try:
            data, fds = descriptors.recv(self._sock)
        except ConnectionResetError:  # with an answer of ours that it had not read
            return False
        except descriptors.ScarceError as error:
            self._refuse(error)
            return True
        if not data:
            return False
        keep = -1
        try:
            id, function, request = _unpacked(data, fds)
            try:
                pid, pidfd = self._fork(function, request, fds)
                self._children.add(pid)
                _FORKED.passed()
            except OSError as error:
                self._answer([id, 0, error.errno or 0, f"{error.filename}: {error.strerror}"], [])
                return True
            exit_index = request.get("_exit_fd", -1)
            if exit_index >= 0:
                keep = self._exit_fds[pid] = fds[exit_index]
                self._wanted[keep] = pid
                self._poll.register(keep, 0)  # POLLERR, no reader, is told unasked
            self._answer([id, pid, 0, ""], [pidfd])
            _ANSWERED.passed()
            os.close(pidfd)
        finally:
            for fd in fds:
                if fd != keep:
                    os.close(fd)
        return True

    def _refuse(self, error: descriptors.ScarceError) -> None:
        """A request came whose descriptors found no room here."""
        if error.data == _SPILLED:  # nobody can know whose it was
            raise error
        id = msgpack.unpackb(error.data, unicode_errors=_BYTES)[0]
        self._answer([id, 0, error.errno, f"{error.filename}: {error.strerror}"], [])

    def _answer(self, answer: "list[Any]", fds: list[int]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # seen by the next recv
            descriptors.send(self._sock, msgpack.packb(answer), fds)

    def _fork(self, function: str, request: "dict[str, Any]", fds: list[int]) -> tuple[int, int]:
        target = find(function)
        born_in = request.get("_pidns", -1)
        if born_in >= 0:
            namespaces.setns(fds[born_in], namespaces.CLONE_NEWPID)
        try:
            pid, pidfd = _forked(bool(request.get("_hooks")))
            if pid == 0:
                _become(target, request, fds)
        finally:  # the child never comes here
            if born_in >= 0:
                namespaces.setns(self._own_pidns, namespaces.CLONE_NEWPID)
        return pid, pidfd


def _forked(hooks: bool) -> tuple[int, int]:
    """(pid, pidfd) in the parent, (0, -1) in the child."""
    if not hooks:
        return namespaces.clone3()
    pid = os.fork()
    return pid, process.pidfd_open(pid) if pid else -1


def pack(request: "Any") -> bytes:
    """A request as `_unpacked` reads it, on the other side of a fork."""
    packed: bytes = msgpack.packb(request, unicode_errors=_BYTES)
    return packed


def _unpacked(data: bytes, fds: list[int]) -> "Any":
    """A request that came in a packet, or in a memfd, which is taken off `fds`."""
    if data == _SPILLED:
        with open(fds.pop(0), "rb", buffering=0) as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
            data = view[:]
    return msgpack.unpackb(data, unicode_errors=_BYTES)


def ordered(request: "dict[str, Any]", fds: list[int]) -> int:
    """A child that was forked ahead (ahead.py): it runs request["function"] when it is told with what."""
    with socket.socket(fileno=fds[0]) as orders:
        data, passed = descriptors.recv(orders)
    if not data:  # whoever would have told it has died
        return 0
    return find(request["function"])(_unpacked(data, passed), passed) or 0


def find(function: str) -> "Main":
    """What "module:name" names; the module is imported when it is not yet there."""
    module, _, name = function.partition(":")
    __import__(module)
    found: Main = getattr(sys.modules[module], name)
    return found


def _become(function: "Main", request: "dict[str, Any]", fds: list[int]) -> None:
    """The child's whole life: run the function, exit with what it returns."""
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        descriptors.close_all_but([0, 1, 2, *fds, *kept])
        code = function(request, fds) or 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - the last frame of a process: told to the log
        _complain()
    finally:
        os._exit(code)
