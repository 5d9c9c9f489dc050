"""The gRPC server on its unix socket: decoding, deadlines, errors. What a method does is elsewhere.

The socket is bound under a name of its own and renamed to the final one, so that a second gateway
takes over without a moment in which nobody answers.
"""

import asyncio
import contextlib
import logging
import os
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from cribus import log
from cribus.errors import CribusError, Internal
from cribus.gateway import translate
from cribus.gateway.cri import api_pb2
from cribus.gateway.method import PATIENCE, Methods, Streaming, Unary
from cribus.steps import Step

MAX_MESSAGE = 16 << 20  # bytes, each way
_GRACE = 5.0  # seconds that running calls get when the gateway stops
_MARGIN = 0.1  # seconds by which we give up before the client does, so that it hears our reason
_logger = logging.getLogger(__name__)
_CALLED = Step("gateway.call.answered")


@contextlib.asynccontextmanager
async def serving(path: str, runtime: Methods, image: Methods) -> AsyncIterator[None]:
    """While inside, answer CRI on the unix socket `path`, mode 0660.

    Raises KeyError when a method of CRI is missing, OSError when the socket cannot be made.
    """
    options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.max_send_message_length", MAX_MESSAGE),
    ]
    server = grpc.aio.server(options=options)
    services = api_pb2.DESCRIPTOR.services_by_name
    server.add_generic_rpc_handlers(
        (_service(services["RuntimeService"], runtime), _service(services["ImageService"], image))
    )
    with _bound(server, path) as make_visible:
        await server.start()
        make_visible()
        try:
            yield
        finally:
            await server.stop(_GRACE)


@contextlib.contextmanager
def _bound(server: grpc.aio.Server, path: str) -> Any:
    """Bind next to `path`; the yielded function renames the socket to it.

    The folder is reached through a descriptor, because a socket's name may have 107 bytes only.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    name = f".{os.path.basename(path)}.{os.getpid()}"
    try:
        server.add_insecure_port(f"unix:/proc/self/fd/{folder}/{name}")

        def make_visible() -> None:
            os.chmod(name, 0o660, dir_fd=folder)
            os.rename(name, path, src_dir_fd=folder)

        yield make_visible
    finally:
        os.close(folder)


def _service(descriptor: ServiceDescriptor, methods: Methods) -> Any:
    handlers = {method.name: _handler(method, methods[method.name]) for method in descriptor.methods}
    return grpc.method_handlers_generic_handler(descriptor.full_name, handlers)


def _handler(wire: MethodDescriptor, method: Unary | Streaming) -> Any:
    """gRPC's handler of one method, its converters compiled before the first call."""
    read = translate.reader(wire.input_type, method.request)
    write = translate.writer(method.answer, wire.output_type)
    decode = GetMessageClass(wire.input_type).FromString

    async def unary(proto: Any, context: Any) -> Any:
        assert isinstance(method, Unary)
        async with _answering(wire.name, context):
            request = read(proto)
            with _CALLED.of(wire.name):
                return write(await method.run(request, _seconds(context, method.patience(request))))

    async def streaming(proto: Any, context: Any) -> None:
        assert isinstance(method, Streaming)
        async with _answering(wire.name, context):
            seconds = _seconds(context, PATIENCE)
            async with contextlib.aclosing(method.run(read(proto), seconds)) as answers:
                async for answer in answers:
                    await context.write(write(answer))

    encode = GetMessageClass(wire.output_type).SerializeToString
    if isinstance(method, Streaming):
        return grpc.unary_stream_rpc_method_handler(streaming, decode, encode)
    return grpc.unary_unary_rpc_method_handler(unary, decode, encode)


@contextlib.asynccontextmanager
async def _answering(name: str, context: Any) -> AsyncIterator[None]:
    """Turn what goes wrong inside into a gRPC status: an error's code is the status's name."""
    with log.ids(trace=_trace(context)):
        try:
            yield
        except CribusError as caught:
            error = caught
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except Exception as caught:
            _logger.exception("method failed", extra={"method": name})
            error = Internal(f"{name} failed inside the gateway ({type(caught).__name__}: {caught}); its log says more")
        else:
            return
        _logger.debug("method refused", extra={"method": name, "code": error.code, "cause": error.message})
    await context.abort(grpc.StatusCode[error.code], error.message)


def _seconds(context: Any, patience: float) -> float:
    """How long a call may take: until shortly before the client gives up."""
    left = context.time_remaining()
    return patience if left is None else max(0.001, left - min(_MARGIN, left / 10))


def _trace(context: Any) -> str:
    """The client's trace id (W3C trace context), or a new one."""
    for key, value in context.invocation_metadata() or ():
        parts = value.split("-") if key == "traceparent" else []
        if len(parts) == 4:
            return str(parts[1])
    return uuid.uuid4().hex[:16]
