"""A client's lanes joined to a process's streams until one of the two ends: exec and attach alike."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from cribus.bus import streams
from cribus.bus.far import Far
from cribus.errors import CribusError
from cribus.gateway.streaming import client as c
from cribus.gateway.streaming import status

_OUTPUTS = {streams.STDOUT: c.STDOUT, streams.STDERR: c.STDERR}
_logger = logging.getLogger(__name__)


async def join(client: c.Client, far: Far, start: Callable[[], Awaitable[Any]]) -> None:
    """`start` lets the process begin. Returns when the client has been told the end, or has left."""
    try:
        await start()
        far.begin()
        code, message = await _until_exit(client, far)
        word = status.ended(client.version, code, message)
    except CribusError as error:
        word = status.failed(client.version, error.message)
    except (OSError, _Gone) as error:
        _logger.info("remote command left by its client", extra={"cause": str(error)})
        return
    await _tell(client, word)


class _Gone(Exception):
    """The client left before the process ended."""


async def _until_exit(client: c.Client, far: Far) -> tuple[int, str]:
    """Pump until the process has ended and the client has all of its output."""
    outputs = [asyncio.create_task(_output(client, far, channel)) for channel in far.outputs]
    inputs = [asyncio.create_task(work) for work in _inputs(client, far)]
    gone = asyncio.create_task(client.gone.wait())
    try:
        waiting: set[asyncio.Future[Any]] = {far.exit, *outputs}
        while waiting:
            done, _ = await asyncio.wait({*waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
            for one in done & waiting:
                one.result()
            waiting -= done
            if gone in done and waiting:
                raise _Gone("connection closed")
        return far.exit.result()
    finally:
        tasks = [*outputs, *inputs, gone]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _output(client: c.Client, far: Far, channel: int) -> None:
    lane = client.lanes[_OUTPUTS[channel]]
    while data := await far.read(channel):
        await lane.write(data)
    await lane.close()


def _inputs(client: c.Client, far: Far) -> list[Any]:
    work = []
    if c.STDIN in client.lanes and far.takes_input:
        work.append(_input(client.lanes[c.STDIN], far))
    if c.RESIZE in client.lanes:
        work.append(_sizes(client.lanes[c.RESIZE], far))
    return work


async def _input(lane: c.Lane, far: Far) -> None:
    try:
        while data := await lane.read():
            await far.write(data)
    except ConnectionError as error:
        # The client gave this lane up alone, or left: that is seen elsewhere.
        _logger.debug("input broke off", extra={"cause": str(error)})
    far.end()


async def _sizes(lane: c.Lane, far: Far) -> None:
    """Sizes come as JSON objects, one after another, cut anywhere."""
    decoder, text = json.JSONDecoder(), ""
    while data := await lane.read():
        text = (text + data.decode(errors="replace")).lstrip()
        while text:
            try:
                size, end = decoder.raw_decode(text)
            except ValueError:
                break  # not all of it is here yet
            text = text[end:].lstrip()
            if isinstance(size, dict):
                far.resize(int(size.get("Width", 0)), int(size.get("Height", 0)))
        text = text[-256:]


async def _tell(client: c.Client, word: bytes) -> None:
    try:
        error = client.lanes[c.ERROR]
        if word:
            await error.write(word)
        for lane in client.lanes.values():
            await lane.close()
    except OSError as lost:
        _logger.info("client left before it was told the end", extra={"cause": str(lost)})
