"""A client's lanes joined to a process."""

import asyncio
import json
from typing import Any

from cribus.bus import far
from cribus.errors import FailedPrecondition
from cribus.gateway.streaming import client as c
from cribus.gateway.streaming.pipe import Buffer
from cribus.gateway.streaming.remote_command import join

from tests.unit.gateway.stand import Shim, program


class Lane:
    """A lane that ends in the test."""

    def __init__(self) -> None:
        self.input = Buffer()
        self.output = bytearray()
        self.closed = False

    async def read(self) -> bytes:
        return await self.input.get()

    async def write(self, data: bytes) -> None:
        self.output += data

    async def close(self) -> None:
        self.closed = True


def play(command: list[str], tweak: Any = lambda lanes, gone: None, failing: bool = False) -> dict[str, Lane]:
    """Run a command of `program`; what its lanes hold afterwards."""

    async def run() -> dict[str, Lane]:
        lanes = {name: Lane() for name in (c.STDIN, c.STDOUT, c.STDERR, c.ERROR, c.RESIZE)}
        gone = asyncio.Event()
        shim = Shim(program)
        tweak(lanes, gone)

        async def start() -> None:
            if failing:
                raise FailedPrecondition("container x is not running")
            request = type("Request", (), {"cmd": command, "stream": stream.id, "tty": False})
            shim.opened(request)

        async with asyncio.timeout(10), far.opened(shim.lines, stdin=True, outputs=[1, 2]) as stream:
            await join(c.Client(4, dict(lanes), gone), stream, start)
        return lanes

    return asyncio.run(run())


def test_output_and_success() -> None:
    lanes = play(["echo", "hi"])
    assert lanes[c.STDOUT].output == b"hi\n"
    assert lanes[c.STDERR].output == b"said\n"
    assert json.loads(lanes[c.ERROR].output)["status"] == "Success"
    assert all(lane.closed for lane in lanes.values())


def test_input_and_its_end() -> None:
    def say(lanes: dict[str, Lane], gone: asyncio.Event) -> None:
        lanes[c.STDIN].input.put(b"abc")
        lanes[c.STDIN].input.end()

    assert play(["cat"], say)[c.STDOUT].output == b"abc"


def test_sizes_cut_anywhere() -> None:
    def say(lanes: dict[str, Lane], gone: asyncio.Event) -> None:
        lanes[c.RESIZE].input.put(b'{"Width":80,"Hei')
        lanes[c.RESIZE].input.put(b'ght":24}\n{"Width":')

    assert play(["size"], say)[c.STDOUT].output == b"80x24"


def test_a_command_that_cannot_start_says_why() -> None:
    told = json.loads(play([], failing=True)[c.ERROR].output)
    assert (told["status"], told["message"]) == ("Failure", "container x is not running")


def test_a_client_that_leaves_ends_it() -> None:
    lanes = play(["wait"], lambda lanes, gone: gone.set())
    assert lanes[c.ERROR].output == b""
