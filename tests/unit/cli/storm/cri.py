"""A CRI server that answers what a test says, by real gRPC on a unix socket."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
from cribus.cli.storm import client
from cribus.gateway.cri import api_pb2 as pb
from grpc import aio

Answers = dict[str, Callable[[Any], Any]]


class Refused(Exception):
    """To be answered with this code and these words."""

    def __init__(self, code: str, words: str = "no") -> None:
        super().__init__(words)
        self.code = grpc.StatusCode[code]


def _handler(method: str, answer: Callable[[Any], Any]) -> Any:
    async def handle(request: Any, context: Any) -> Any:
        try:
            found = answer(request)
            return await found if hasattr(found, "__await__") else found
        except Refused as error:
            return await context.abort(error.code, str(error))

    request, reply = getattr(pb, f"{method}Request"), getattr(pb, f"{method}Response")
    return grpc.unary_unary_rpc_method_handler(handle, request.FromString, reply.SerializeToString)


@contextlib.asynccontextmanager
async def serving(base: Path, answers: Answers) -> AsyncIterator[client.Client]:
    """While inside, a client of a server that answers so."""
    server = aio.server()
    for service in ("RuntimeService", "ImageService"):
        known = {name: _handler(name, give) for name, give in answers.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(f"runtime.v1.{service}", known),))
    server.add_insecure_port(f"unix://{base}/cri.sock")
    await server.start()
    try:
        async with client.connected(f"{base}/cri.sock") as one:
            yield one
    finally:
        await server.stop(None)
