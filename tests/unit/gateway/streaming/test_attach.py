"""Attach joins the container's own process, by the verb ATTACH."""

import asyncio

from cribus.api import shim
from cribus.gateway.streaming import attach
from cribus.gateway.streaming import client as c

from tests.unit.gateway.stand import CONTAINER, Calls, Shim, program
from tests.unit.gateway.streaming.test_remote_command import Lane


def test_attach() -> None:
    async def run() -> None:
        shims = Shim(program)
        calls = Calls({shim.ATTACH: shims.opened})
        lanes = {name: Lane() for name in (c.STDIN, c.STDOUT, c.STDERR, c.ERROR)}
        lanes[c.STDIN].input.put(b"typed")
        lanes[c.STDIN].input.end()
        wish = shim.OpenAttach(container=CONTAINER, stream="", stdin=True)
        async with asyncio.timeout(10):
            await attach.run(calls, shims.lines, wish, False)(c.Client(4, dict(lanes), asyncio.Event()))
        assert lanes[c.STDOUT].output == b"typed"
        assert [(name, id) for name, _, id, _ in calls.asked] == [("attach", CONTAINER)]

    asyncio.run(run())
