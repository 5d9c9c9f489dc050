"""Exec: a new process in a container, its streams the client's."""

from collections.abc import Awaitable, Callable

import msgspec

from cribus.api import shim
from cribus.api.verb import Call
from cribus.bus import far, streams
from cribus.gateway.streaming.client import RESIZE, STDERR, STDIN, STDOUT, Client
from cribus.gateway.streaming.remote_command import join

Run = Callable[[Client], Awaitable[None]]


def wanted(request: shim.OpenExec | shim.OpenAttach, tty: bool) -> set[str]:
    """The lanes that a client of this request opens, beside the error lane."""
    asked = {STDIN: request.stdin, STDOUT: request.stdout, STDERR: request.stderr and not tty, RESIZE: tty}
    return {name for name, yes in asked.items() if yes}


def outputs(request: shim.OpenExec | shim.OpenAttach, tty: bool) -> list[int]:
    names = wanted(request, tty)
    return [channel for channel, name in ((streams.STDOUT, STDOUT), (streams.STDERR, STDERR)) if name in names]


def run(call: Call, lines: far.Open, request: shim.OpenExec) -> Run:
    """What happens once the client of this exec is connected."""

    async def serve(client: Client) -> None:
        async with far.opened(lines, stdin=request.stdin, outputs=outputs(request, request.tty)) as stream:
            wish = msgspec.structs.replace(request, stream=stream.id)
            await join(client, stream, lambda: call(shim.EXEC, wish, id=request.container))

    return serve
