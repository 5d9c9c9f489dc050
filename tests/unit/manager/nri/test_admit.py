"""Connections that come to nothing."""

import asyncio
import os
import socket

import pytest

from tests.unit.manager.conftest import Run
from tests.unit.manager.nri.conftest import Staged, sometime


def causes(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [getattr(one, "cause", "") for one in caplog.records if "thrown out" in one.message]


def test_who_says_nothing_is_thrown_out_and_hinders_nobody(
    staged: Staged, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with staged() as stage:
            mute = await stage.stranger("00-mute")
            other = await stage.plugin("10-x")
            pod = await stage.world.pod()
            assert other.methods(pod) == ["RunPodSandbox"]
            assert not mute.over.is_set()
            assert await asyncio.to_thread(mute.over.wait, 5)
            assert any("did not register within" in cause for cause in causes(caplog))
            assert any(getattr(one, "plugin", "") == f"of process {os.getpid()}" for one in caplog.records)

    run(story())


STRANGERS = {
    "this is no NRI plugin": b"GET / HTTP/1.1\r\n\r\n",
    "it closed the connection": b"",
    "wire type": bytes.fromhex("00000002 0000000b 00000001 00000001 0100 0b"),
}


@pytest.mark.parametrize("why", STRANGERS)
def test_who_says_something_else_is_thrown_out_at_once(
    staged: Staged, run: Run, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with staged() as stage:
            stranger = socket.socket(socket.AF_UNIX)
            stranger.connect(str(stage.path))
            stranger.sendall(STRANGERS[why])
            stranger.shutdown(socket.SHUT_WR)
            stranger.settimeout(5)
            assert await asyncio.to_thread(stranger.recv, 10) == b""
            stranger.close()
            await stage.plugin("10-x")
            assert any(why in cause for cause in causes(caplog))

    run(story())


def test_who_goes_is_forgotten(staged: Staged, run: Run) -> None:
    async def story() -> None:
        async with staged() as stage:
            plugin = await stage.plugin("00-x")
            await asyncio.to_thread(plugin.close)
            await sometime(lambda: stage.node.nri._busy() is None)
            assert await stage.world.pod()

    run(story())
