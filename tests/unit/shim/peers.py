"""Who talks with a shim in tests: an executor that starts processes of this host, and a stream's client."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
import uuid
from typing import Any

import msgpack
from cribus.api.executor import EXEC, Exec, Execed
from cribus.bus import streams, subjects
from cribus.bus.codec import pack
from cribus.bus.service import Bus
from cribus.errors import Aborted, FailedPrecondition, Unavailable
from cribus.linux.process import start_time

from tests.unit.shim.rig import Rig

_IN_SESSION = "import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])"
_IN_TERMINAL = (
    "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


class Executor:
    """Answers EXEC as the executor does, over shim.sock and the bus."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.pids: list[int] = []

    def table(self) -> dict[Any, Any]:
        return {EXEC: self._exec}

    async def _exec(self, request: Exec) -> Execed:
        return await asyncio.to_thread(self._run, request)

    def _run(self, request: Exec) -> Execed:
        if request.args[0] == "missing":
            raise FailedPrecondition("missing: no such program")
        with contextlib.ExitStack() as stack:
            shim, fds = self._introduced(stack, request)
            *three, exit_fd = fds
            slave = _terminal(three[0]) if request.tty else -1
            if request.tty:
                stack.callback(os.close, slave)
            stdin, stdout, stderr = [slave] * 3 if request.tty else three
            script = _IN_TERMINAL if request.tty else _IN_SESSION
            process = subprocess.Popen(
                [sys.executable, "-c", script, *request.args], stdin=stdin, stdout=stdout, stderr=stderr
            )
            self.pids.append(process.pid)
            pidfd = os.pidfd_open(process.pid)
            stack.callback(os.close, pidfd)
            started = start_time(process.pid)
            threading.Thread(target=_reap, args=(process, os.dup(exit_fd))).start()
            with contextlib.suppress(OSError):  # a shim that died has no use for it
                socket.send_fds(shim, [msgpack.packb({"exec": request.exec_id, "pid": process.pid})], [pidfd])
        return Execed(pid=process.pid, started=started)

    def _introduced(self, stack: contextlib.ExitStack, request: Exec) -> tuple[socket.socket, list[int]]:
        """The shim and what it gave for this exec. Raises Unavailable, Aborted."""
        shim = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        folder = os.open(self._rig.run / "pods" / request.pod, os.O_RDONLY)
        try:
            shim.connect(f"/proc/self/fd/{folder}/shim.sock")
            shim.send(msgpack.packb({"exec": request.exec_id}))
            _, fds, _, _ = socket.recv_fds(shim, 4096, 4)
        except OSError as error:
            raise Unavailable(f"no descriptors: {error}") from error
        finally:
            os.close(folder)
        for fd in fds:
            stack.callback(os.close, fd)
        if len(fds) != (2 if request.tty else 4):
            raise Aborted("the shim does not know the exec")
        return shim, fds


def _terminal(link: int) -> int:
    """A terminal, its master given away on the link."""
    master, slave = os.openpty()
    with socket.socket(fileno=os.dup(link)) as sock:
        socket.send_fds(sock, [b"console"], [master])
    os.close(master)
    return slave


def _reap(process: "subprocess.Popen[bytes]", exit_fd: int) -> None:
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    try:
        os.write(exit_fd, status.to_bytes(4, "little"))
    except BrokenPipeError:  # the shim gave the exec up
        return
    finally:
        os.close(exit_fd)


class Client:
    """The gateway's end of one stream. With `slow`, takes nothing until told to."""

    def __init__(self, bus: Bus, *, slow: bool = False) -> None:
        self.id = uuid.uuid4().hex
        self.slow = slow
        self.output: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}
        self.code: int | None = None
        self.acked = asyncio.Event()
        self._held: dict[int, int] = {1: 0, 2: 0}
        self._bus = bus
        self._frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.stream = streams.Stream(self._frames.put_nowait, [0], [1, 2])
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> "Client":
        connection = self._bus.connection
        await connection.nats.subscribe(subjects.stream("unit", self.id, "c"), cb=self._on_frame)
        connection.on_reconnect.append(self.stream.reconnected)
        self._task = asyncio.create_task(self._send())
        return self

    async def _send(self) -> None:
        while True:
            await self._bus.connection.send(subjects.stream("unit", self.id, "s"), await self._frames.get())

    async def _on_frame(self, msg: Any) -> None:
        what = self.stream.feed(msg.data)
        if what[0] == "data":
            self.output[what[1]] += what[2]
            if self.slow:
                self._held[what[1]] += len(what[2])
            else:
                self.stream.incoming[what[1]].done(len(what[2]))
        elif what[0] == "exit":
            self.code = what[1]
        elif what[0] == "acked":
            self.acked.set()
        self._changed.set()

    def hurry(self) -> None:
        """Be slow no longer."""
        self.slow = False
        for channel, count in self._held.items():
            self.stream.incoming[channel].done(count)

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self.acked.clear()
            view = view[self.stream.outgoing[0].write(view) :]
            if view:
                await self.acked.wait()

    async def until(self, check: Any, seconds: float = 15) -> None:
        async with asyncio.timeout(seconds):
            while not check(self):
                self._changed.clear()
                await self._changed.wait()

    async def exited(self, seconds: float = 15) -> int:
        await self.until(lambda one: one.code is not None, seconds)
        assert self.code is not None
        return self.code

    async def leave(self) -> None:
        self._frames.put_nowait(pack(["q"]))
