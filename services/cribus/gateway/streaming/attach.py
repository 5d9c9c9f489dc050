"""Attach: the streams of a container's own process, shared with whoever else is attached."""

import msgspec

from cribus.api import shim
from cribus.api.verb import Call
from cribus.bus import far
from cribus.gateway.streaming.client import Client
from cribus.gateway.streaming.exec import Run, outputs
from cribus.gateway.streaming.remote_command import join


def run(call: Call, lines: far.Open, request: shim.OpenAttach, tty: bool) -> Run:
    """What happens once the client of this attach is connected."""

    async def serve(client: Client) -> None:
        async with far.opened(lines, stdin=request.stdin, outputs=outputs(request, tty)) as stream:
            wish = msgspec.structs.replace(request, stream=stream.id)
            await join(client, stream, lambda: call(shim.ATTACH, wish, id=request.container))

    return serve
