"""The gRPC server on its unix socket: decoding, deadlines, errors. What a method does is elsewhere.

The socket is bound under a name of its own and renamed to the final one, so that a second gateway
takes over without a moment in which nobody answers.
"""

import asyncio
import contextlib
import logging
import os
import socket
import stat
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from cribus import log
from cribus.api.trace import is_question
from cribus.bus.client import Leave, passing_on
from cribus.bus.connection import pause
from cribus.bus.trace import Asking, Told
from cribus.errors import CribusError, Internal, Unavailable
from cribus.gateway import translate
from cribus.gateway.callers import Callers, about, id_of
from cribus.gateway.cri import api_pb2
from cribus.gateway.method import PATIENCE, Caller, Methods, Streaming, Unary
from cribus.steps import Step

MAX_MESSAGE = 16 << 20  # bytes, each way
_LOOK = 1.0  # seconds between two looks whether callers still find us
_GRACE = 2.0  # seconds that running calls get when the gateway stops
_WORDS = 1.0  # seconds in which what is left of them then is told why
_ENDS = "this gateway ends, and another is started; ask again"
_TURNS = 4  # turns of the loop between what gRPC has heard and the cancelling of a task (3, seen)
_MARGIN = 0.1  # seconds by which we give up before the client does, so that it hears our reason
_logger = logging.getLogger(__name__)
_CALLED = Step("gateway.call.answered")


class Front:
    """The server, from whoever runs it."""

    def __init__(self, server: grpc.aio.Server, answering: "_Answering", socket: "_Socket") -> None:
        self._server = server
        self._answering = answering
        self._socket = socket
        self._ours = os.stat(socket.path).st_ino

    async def deserted(self) -> None:
        """Until nobody can find us any more."""
        await _deserted(self._socket.path, self._ours)

    async def end(self) -> None:
        """Answer what is under way within `_GRACE`; the rest, and all that is new, is UNAVAILABLE. Idempotent.

        Then hang up: gRPC, told to stop, calls everything CANCELLED that is still on its way to it.
        """
        await self._answering.end()
        self._socket.hang_up()
        await self._server.stop(None)


@contextlib.asynccontextmanager
async def serving(path: str, runtime: Methods, image: Methods, asked: Asking) -> AsyncIterator[Front]:
    """While inside, answer CRI on the unix socket `path`, mode 0660. `asked` hears of every request.

    Raises KeyError when a method of CRI is missing, OSError when the socket cannot be made.
    """
    options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.max_send_message_length", MAX_MESSAGE),
    ]
    server = grpc.aio.server(options=options)
    services = api_pb2.DESCRIPTOR.services_by_name
    answering = _Answering(asked, Callers(path))
    server.add_generic_rpc_handlers(
        (_service(services["RuntimeService"], runtime, answering), _service(services["ImageService"], image, answering))
    )
    with contextlib.closing(_Socket(path)) as bound:
        bound.bind(server)
        await server.start()
        bound.show()
        front = Front(server, answering, bound)
        try:
            yield front
        finally:
            await front.end()


async def _deserted(path: str, ours: int) -> None:
    """Until another has taken the socket over and is gone: callers find nobody then, and only a new start helps."""
    while True:
        await pause(_LOOK)
        try:
            if os.stat(path).st_ino == ours:
                continue
            with socket.socket(socket.AF_UNIX) as caller:
                caller.setblocking(False)
                caller.connect(path)
        except BlockingIOError:  # many wait there to be accepted
            continue
        except OSError as error:
            _logger.error("callers do not find this gateway any more", extra={"cause": str(error)})
            return


class _Socket:
    """Bound next to `path`, and renamed to it to be seen.

    The folder is reached through a descriptor, because a socket's name may have 107 bytes only.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self._folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._name = f".{os.path.basename(path)}.{os.getpid()}"
        self._address = f"/proc/self/fd/{self._folder}/{self._name}"

    def bind(self, server: grpc.aio.Server) -> None:
        server.add_insecure_port(f"unix:{self._address}")

    def show(self) -> None:
        os.chmod(self._name, 0o660, dir_fd=self._folder)
        os.rename(self._name, self.path, src_dir_fd=self._folder)

    def close(self) -> None:
        os.close(self._folder)

    def hang_up(self) -> None:
        """Shut every connection that was made to it, which gRPC does not let one do: those have its address."""
        for one in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # closed since, or no socket
                if stat.S_ISSOCK(os.fstat(int(one)).st_mode):
                    with socket.socket(fileno=os.dup(int(one))) as found:
                        if found.family == socket.AF_UNIX and found.getsockname() == self._address:
                            found.shutdown(socket.SHUT_RDWR)


def _service(descriptor: ServiceDescriptor, methods: Methods, answering: "_Answering") -> Any:
    handlers = {method.name: _handler(method, methods[method.name], answering) for method in descriptor.methods}
    return grpc.method_handlers_generic_handler(descriptor.full_name, handlers)


def _handler(wire: MethodDescriptor, method: Unary | Streaming, answering: "_Answering") -> Any:
    """gRPC's handler of one method, its converters compiled before the first call."""
    read = translate.reader(wire.input_type, method.request)
    write = translate.writer(method.answer, wire.output_type)
    decode = GetMessageClass(wire.input_type).FromString

    async def unary(proto: Any, context: Any) -> Any:
        assert isinstance(method, Unary)
        async with answering.to(wire.name, context) as asked:
            request = read(proto)
            seconds = _seconds(context, method.patience(request))
            answering.tell(asked, request, seconds)
            with _CALLED.of(wire.name), passing_on() as leaves:
                answer = await method.run(request, seconds)
            if not is_question(wire.name):
                await _unless_delivered(leaves)
            asked.id = id_of(answer) or asked.id
            return write(answer)

    async def streaming(proto: Any, context: Any) -> None:
        assert isinstance(method, Streaming)
        async with answering.to(wire.name, context, stream=True):
            caller = Caller(_seconds(context, PATIENCE), _words(context))
            answers = await method.run(read(proto), caller)
            async with contextlib.aclosing(answers.items) as items:
                await context.send_initial_metadata(answers.metadata)
                async for answer in items:
                    await context.write(write(answer))

    encode = GetMessageClass(wire.output_type).SerializeToString
    if isinstance(method, Streaming):
        return grpc.unary_stream_rpc_method_handler(streaming, decode, encode)
    return grpc.unary_unary_rpc_method_handler(unary, decode, encode)


async def _unless_delivered(leaves: list[Leave]) -> None:
    """A client that gives up just now has not had the answer. gRPC cancels this task for it, also while it
    sends the answer, and ends it as if nothing had happened; and it does so some turns of the loop after
    it has heard: those are given to it."""

    def ended(task: asyncio.Task[Any]) -> None:
        if task.cancelling():
            for leave in leaves:
                going.add(one := asyncio.ensure_future(leave()))
                one.add_done_callback(going.discard)

    going: set[asyncio.Future[None]] = set()
    task = asyncio.current_task()
    assert task is not None
    task.add_done_callback(ended)
    for _ in range(_TURNS):
        await asyncio.sleep(0)


class _Answering:
    """What surrounds every method: its failure as a gRPC status, and the telling of who asked."""

    def __init__(self, asked: Asking, callers: Callers) -> None:
        self._asked = asked
        self._callers = callers
        self._running: dict[asyncio.Task[Any], bool] = {}  # whether it is a stream, which may have no end
        self._cut: set[asyncio.Task[Any]] = set()  # by us, not by their clients
        self._ending = False

    async def end(self) -> None:
        """Begin nothing more, and cut what runs: streams at once, calls after `_GRACE`."""
        self._ending = True
        self._cancel([task for task, stream in self._running.items() if stream])
        if self._running:
            await asyncio.wait(list(self._running), timeout=_GRACE)
        if late := list(self._running):
            self._cancel(late)
            await asyncio.wait(late, timeout=_WORDS)

    def _cancel(self, tasks: list[asyncio.Task[Any]]) -> None:
        for task in tasks:
            self._cut.add(task)
            task.cancel()

    @contextlib.contextmanager
    def _counted(self, stream: bool) -> Iterator[None]:
        """Raises Unavailable where the gateway ends."""
        if self._ending:
            raise Unavailable(_ENDS)
        task = asyncio.current_task()
        assert task is not None
        self._running[task] = stream
        try:
            yield
        except asyncio.CancelledError as error:
            if task not in self._cut:
                raise
            raise Unavailable(_ENDS) from error
        finally:
            del self._running[task]
            self._cut.discard(task)

    def tell(self, asked: Told, request: Any, seconds: float) -> None:
        """Who asks for what, until when; of a question nobody wants to know."""
        if not is_question(asked.name):
            asked.id, asked.told = about(request)
            asked.told |= {"caller": self._callers.now(), "deadline": f"{seconds:.3g} s"}

    @contextlib.asynccontextmanager
    async def to(self, name: str, context: Any, *, stream: bool = False) -> AsyncIterator[Told]:
        """Turn what goes wrong inside into a gRPC status: an error's code is the status's name."""
        with log.ids(trace=_trace(context)):
            try:
                with self._counted(stream), self._asked(name) as asked:
                    yield asked
            except CribusError as caught:
                error = caught
            except (asyncio.CancelledError, GeneratorExit):
                raise
            except Exception as caught:
                _logger.exception("method failed", extra={"method": name})
                text = f"{type(caught).__name__}: {caught}"
                error = Internal(f"{name} failed inside the gateway ({text}); its log says more")
            else:
                return
            _logger.debug("method refused", extra={"method": name, "code": error.code, "cause": error.message})
        await context.abort(grpc.StatusCode[error.code], error.message)


def _seconds(context: Any, patience: float) -> float:
    """How long a call may take: until shortly before the client gives up."""
    left = context.time_remaining()
    return patience if left is None else max(0.001, left - min(_MARGIN, left / 10))


def _words(context: Any) -> dict[str, str]:
    """The client's metadata, but for what is bytes."""
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


def _trace(context: Any) -> str:
    """The client's trace id (W3C trace context), or a new one."""
    parts = _words(context).get("traceparent", "").split("-")
    return parts[1] if len(parts) == 4 else uuid.uuid4().hex[:16]
