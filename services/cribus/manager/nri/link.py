"""One plugin's socket: our questions and its answers, its questions and ours. Knows ttrpc, not NRI."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

from cribus.errors import CribusError
from cribus.manager.nri import frames
from cribus.manager.nri.frames import Frame
from cribus.manager.nri.messages import Request, Response, Status
from cribus.manager.nri.protobuf import Malformed, Message, decode, encode

A = TypeVar("A", bound=Message)
_AT_ONCE = 16  # questions of a plugin that are worked on at a time
_CHUNK = 64 << 10
UNKNOWN, RESOURCE_EXHAUSTED, UNIMPLEMENTED = 2, 8, 12  # google.rpc.Code

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
# (service, method, payload) → payload. Raises CribusError, or Malformed.
Serve = Callable[[str, str, bytes], Awaitable[bytes]]


class Lost(Exception):
    """The plugin cannot be talked to any more: it is gone, late, or speaks something else."""


class Refused(Exception):
    """The plugin answered with an error: `code` is a google.rpc.Code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Link:
    """`run` reads until the end; `call` asks the plugin's service meanwhile."""

    def __init__(self, streams: Streams, service: str, serve: Serve) -> None:
        self._reader, self._writer = streams
        self._service, self._serve = service, serve
        self._waiting: dict[int, asyncio.Future[Response]] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._stream = -1
        self.over = ""  # why nothing comes any more
        trunk = self._writer.get_extra_info("socket")
        credentials: bytes = trunk.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4)
        self.pid = int.from_bytes(credentials, sys.byteorder)  # of the peer

    async def run(self) -> None:
        """Take what the plugin sends until it is gone or `close` was called; what waits is told."""
        inbox = frames.Inbox()
        try:
            while chunk := await self._reader.read(_CHUNK):
                for connection, frame in inbox.feed(chunk):
                    self._took(connection, frame)
            self.close("it closed the connection")
        except Malformed as error:
            self.close(f"it sends what is not NRI: {error}")
        except OSError as error:
            self.close(f"the connection broke: {error.strerror}")
        finally:
            self.close("the connection is over")
            for task in list(self._serving):
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

    async def call(self, method: str, request: Message, answer: type[A], seconds: float) -> A:
        """Ask, and wait at most so long. Raises Refused, or Lost: nothing can be asked after that."""
        payload = encode(request)
        self._stream += 2
        stream = self._stream
        waiting = self._waiting[stream] = asyncio.get_running_loop().create_future()
        question = Request(service=self._service, method=method, payload=payload, timeout_nano=int(seconds * 1e9))
        try:
            if self.over:
                raise Lost(self.over)
            async with asyncio.timeout(seconds):
                await self._send(frames.PLUGIN, Frame(stream, frames.REQUEST, encode(question)))
                response = await waiting
        except TimeoutError as error:
            raise Lost(f"it did not answer {method} within {seconds:g} s") from error
        except OSError as error:
            raise Lost(f"the connection broke: {error.strerror}") from error
        finally:
            self._waiting.pop(stream, None)
            waiting.cancel()
        if response.status is not None and response.status.code:
            raise Refused(response.status.code, response.status.message)
        try:
            return decode(answer, response.payload)
        except Malformed as error:
            raise Lost(f"its answer to {method} cannot be read: {error}") from error

    def close(self, why: str) -> None:
        """End it; the first reason stays."""
        if not self.over:
            self.over = why
        self._writer.transport.abort()  # a close would wait for a plugin that does not read
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Lost(self.over))

    async def _send(self, connection: int, frame: Frame) -> None:
        self._writer.write(frames.pack(connection, frame))
        await self._writer.drain()

    def _took(self, connection: int, frame: Frame) -> None:
        if connection == frames.PLUGIN and frame.kind == frames.RESPONSE:
            waiting = self._waiting.get(frame.stream)
            if waiting is not None and not waiting.done():
                waiting.set_result(decode(Response, frame.data))
        elif connection == frames.RUNTIME and frame.kind == frames.REQUEST:
            serve = self._response if len(self._serving) < _AT_ONCE else _refused
            task = asyncio.ensure_future(self._answer(frame.stream, decode(Request, frame.data), serve))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        else:
            raise Malformed(f"a frame of kind {frame.kind} on connection {connection}")

    async def _answer(self, stream: int, request: Request, serve: Callable[[Request], Awaitable[Response]]) -> None:
        answer = Frame(stream, frames.RESPONSE, encode(await serve(request)))
        with contextlib.suppress(OSError):  # it is gone: `run` says so
            await self._send(frames.RUNTIME, answer)

    async def _response(self, request: Request) -> Response:
        try:
            return Response(payload=await self._serve(request.service, request.method, request.payload))
        except Malformed as error:
            return Response(status=Status(code=UNKNOWN, message=f"{request.method} cannot be read: {error}"))
        except CribusError as error:
            return Response(status=Status(code=_CODES.get(error.code, UNKNOWN), message=error.message))


async def _refused(request: Request) -> Response:
    return Response(status=Status(code=RESOURCE_EXHAUSTED, message=f"{request.method}: too many questions at a time"))


_CODES = {
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "RESOURCE_EXHAUSTED": RESOURCE_EXHAUSTED,
    "FAILED_PRECONDITION": 9,
    "UNIMPLEMENTED": UNIMPLEMENTED,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
}
