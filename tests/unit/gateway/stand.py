"""A whole gateway without a bus: `call` is a dictionary of functions, processes are coroutines."""

import asyncio
import contextlib
import os
import shutil
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cribus.api import manager, shim
from cribus.api.events import Event
from cribus.api.verb import Verb
from cribus.bus import streams
from cribus.bus.events import Seen
from cribus.bus.trace import Asked
from cribus.errors import Unavailable
from cribus.gateway import image_service, server
from cribus.gateway.runtime_service import Runtime
from cribus.gateway.streaming.server import Streaming

CRICTL = os.environ.get("CRICTL") or shutil.which("crictl") or "crictl"
needs_crictl = pytest.mark.skipif(not Path(CRICTL).exists(), reason="crictl is not installed; set $CRICTL")
CONTAINER, POD = "c" * 64, "a" * 64


class Calls:
    """`api.verb.Call` over a dictionary of functions; remembers what was asked."""

    def __init__(self, table: dict[Any, Callable[[Any], Any]]) -> None:
        self.table = table
        self.asked: list[tuple[str, Any, str, float]] = []
        self.heard: list[Asked] = []

    async def __call__(
        self,
        verb: Verb[Any, Any],
        request: Any,
        /,
        *,
        id: str = "",
        timeout: float = 30.0,
        patience: float | None = None,
    ) -> Any:
        self.asked.append((verb.name, request, id, timeout))
        if verb not in self.table:
            raise Unavailable(f"nobody serves {verb.service}.{verb.name}")
        answer = self.table[verb](request)
        return await answer if isinstance(answer, Awaitable) else answer


class Process:
    """The server's side of one stream, as a shim has it. Frames go straight to the gateway's side."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.stream = streams.Stream(send, [streams.STDOUT, streams.STDERR], [streams.STDIN])
        self.input: asyncio.Queue[bytes] = asyncio.Queue()
        self.sizes: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
        self.gone = asyncio.Event()
        self.listened = True
        self._acked = asyncio.Event()

    async def send(self, frame: bytes) -> None:
        """A frame of the gateway arrives."""
        what = self.stream.feed(frame)
        if what[0] == "data":
            self.input.put_nowait(what[2])
        elif what[0] == "end":
            self.input.put_nowait(b"")
        elif what[0] == "resize":
            self.sizes.put_nowait((what[1], what[2]))
        elif what[0] == "acked":
            self._acked.set()
        elif what[0] == "gone":
            self.gone.set()

    async def read(self) -> bytes:
        data = await self.input.get()
        if data:
            self.stream.incoming[streams.STDIN].done(len(data))
        return data

    async def write(self, channel: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._acked.clear()
            view = view[self.stream.outgoing[channel].write(view) :]
            if view:
                await self._acked.wait()

    def exit(self, code: int, message: str = "") -> None:
        for sender in self.stream.outgoing.values():
            sender.end()
        self.stream.exit(code, message)


class _Line:
    def __init__(self, process: Process) -> None:
        self._process = process

    async def send(self, frame: bytes) -> None:
        await self._process.send(frame)

    async def listened(self) -> bool:
        return self._process.listened


Behaviour = Callable[[Process, Any], Awaitable[None]]


class Shim:
    """Serves shim.EXEC and shim.ATTACH: runs `behaviour` for each stream that is opened."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.processes: dict[str, Process] = {}
        self.tasks: list[asyncio.Task[None]] = []
        self.started = asyncio.Event()

    @contextlib.asynccontextmanager
    async def lines(
        self, stream: str, on_frame: Callable[[bytes], None], on_reconnect: Callable[[], None]
    ) -> AsyncIterator[_Line]:
        # As on the bus, a frame arrives some time after it was sent.
        loop = asyncio.get_running_loop()

        def later(frame: bytes) -> None:
            loop.call_soon(on_frame, frame)

        process = self.processes[stream] = Process(later)
        yield _Line(process)

    def opened(self, request: Any) -> shim.StreamOpened:
        process = self.processes[request.stream]
        self.tasks.append(asyncio.create_task(self._run(process, request)))
        return shim.StreamOpened()

    async def _run(self, process: Process, request: Any) -> None:
        self.started.set()
        await self.behaviour(process, request)


async def program(process: Process, request: Any) -> None:
    """A process that does what the first word of its command says; attached: that of a shell that echoes."""
    name, *args = getattr(request, "cmd", ["cat"])
    if name == "echo":
        await process.write(streams.STDOUT, " ".join(args).encode() + b"\n")
        if streams.STDERR in process.stream.outgoing and not getattr(request, "tty", False):
            await process.write(streams.STDERR, b"said\n")
    elif name == "cat":
        while data := await process.read():
            await process.write(streams.STDOUT, data)
    elif name == "size":
        await process.write(streams.STDOUT, "{}x{}".format(*await process.sizes.get()).encode())
    elif name == "fill":
        for _ in range(int(args[0])):
            await process.write(streams.STDOUT, b"x" * 65536)
    elif name == "wait":
        await process.gone.wait()
    process.exit(int(args[0]) if name == "exit" else 0)


def located(**changes: Any) -> Callable[[Any], manager.Located]:
    return lambda request: manager.Located(pod=POD, container=CONTAINER, running=True, **changes)


class News:
    """The node's events: those told before, and nothing more."""

    def __init__(self, *told: Event) -> None:
        self.seen = [Seen(number, event) for number, event in enumerate(told, 1)]
        self.oldest = 1
        self.begin = 0  # of a reader that wants only what is new

    async def first(self) -> int:
        return self.oldest

    async def last(self) -> int:
        return self.begin

    async def follow(self, *, since: int) -> AsyncGenerator[Seen, None]:
        for seen in self.seen[since:]:
            yield seen


@contextlib.asynccontextmanager
async def gateway(
    path: Path, calls: Calls, shims: Shim, news: list[Event] | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """The gateway on a socket below `path`; yields crictl's endpoint. What was asked is in `calls.heard`."""

    @contextlib.contextmanager
    def asked(name: str) -> Iterator[Asked]:
        one = Asked(name)
        calls.heard.append(one)
        yield one

    streaming = Streaming(calls, shims.lines)
    runtime = Runtime(calls, News(*(news or [])), streaming, "9.9.9")
    socket = path / "cribus.sock"
    async with (
        streaming.serving("127.0.0.1:0", tls),
        server.serving(str(socket), runtime.methods(), image_service.methods(calls), asked),
    ):
        yield f"unix://{socket}"


async def crictl(endpoint: str, *args: str, stdin: bytes = b"", seconds: float = 20.0) -> tuple[int, str, str]:
    """Run the real crictl against the gateway: (exit code, stdout, stderr)."""
    process = await asyncio.create_subprocess_exec(
        CRICTL,
        f"--runtime-endpoint={endpoint}",
        f"--image-endpoint={endpoint}",
        f"--timeout={int(seconds)}s",
        *args,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate(stdin)
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        raise AssertionError(f"crictl {args} hung; said {out!r} {err!r}") from None
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
