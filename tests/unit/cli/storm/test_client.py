"""Asking until it succeeds, and saying when it never does."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from cribus.cli.storm import client
from cribus.errors import DeadlineExceeded, NotFound, Unknown
from cribus.gateway.cri import api_pb2 as pb

from tests.unit.cli.storm.cri import Refused, serving


def test_what_a_repeat_mends_is_repeated(tmp_path: Path) -> None:
    codes = ["UNAVAILABLE", "ABORTED", "DEADLINE_EXCEEDED"]

    def start(request: Any) -> Any:
        assert request.container_id == "c"
        if codes:
            raise Refused(codes.pop())
        return pb.StartContainerResponse()

    async def scenario() -> None:
        async with serving(tmp_path, {"StartContainer": start}) as one:
            await one.ask("StartContainer", container_id="c")
            wanted = ("UNAVAILABLE", "ABORTED", "DEADLINE_EXCEEDED")
            assert one.again == {f"StartContainer {code}": 1 for code in wanted}

    asyncio.run(scenario())


def test_what_no_repeat_mends_is_said_at_once(tmp_path: Path) -> None:
    asked = []

    def stop(request: Any) -> Any:
        asked.append(request)
        raise Refused("NOT_FOUND", "no such container")

    async def scenario() -> None:
        async with serving(tmp_path, {"StopContainer": stop}) as one:
            with pytest.raises(NotFound, match="StopContainer: no such container"):
                await one.ask("StopContainer", container_id="c")
            assert len(asked) == 1

    asyncio.run(scenario())


def test_what_never_succeeds_is_stuck(tmp_path: Path) -> None:
    def never(request: Any) -> Any:
        raise Refused("UNAVAILABLE", "away")

    async def scenario() -> None:
        async with serving(tmp_path, {"ListImages": never}) as one:
            with pytest.raises(DeadlineExceeded, match=r"ListImages is stuck: asked for 0.2 s; at last UNAVAILABLE"):
                await one.ask("ListImages", 0.2)

    asyncio.run(scenario())


def test_who_is_in_a_hurry_goes_away_unless_he_is_answered(tmp_path: Path) -> None:
    slow = asyncio.Event()

    async def run(request: Any) -> Any:
        if request.runtime_handler == "slow":
            await slow.wait()
        return pb.RunPodSandboxResponse(pod_sandbox_id="p")

    async def scenario() -> None:
        async with serving(tmp_path, {"RunPodSandbox": run}) as one:
            assert await one.hurry("RunPodSandbox", 50, runtime_handler="slow") is None
            assert (await one.hurry("RunPodSandbox", 20_000)).pod_sandbox_id == "p"
            slow.set()

    asyncio.run(scenario())


SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
NOTHING, HEARD, LONG, CLOSE = (
    b"\x82\x01\x01",
    b"\x82\x03\x01li",
    b"\x82\x7e\x01\x00\x01" + b"x" * 255,
    b"\x88\x02\x03\xe8",
)


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (SWITCHING + NOTHING + HEARD, b"li"),
        (SWITCHING + b"\x82\x03\x02er" + LONG, b"x" * 255),
        (SWITCHING + NOTHING + CLOSE, b""),
        (SWITCHING + NOTHING, b""),  # the gateway was killed
        (b"HTTP/1.1 404 Not Found\r\n\r\n", b""),  # and another listens there
        (b"", b""),
    ],
)
def test_attach(tmp_path: Path, said: bytes, heard: bytes) -> None:
    async def scenario() -> None:
        async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert b"GET /attach/token HTTP/1.1" in await reader.readuntil(b"\r\n\r\n")
            writer.write(said)
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(stream, "127.0.0.1", 0) as streams:
            port = streams.sockets[0].getsockname()[1]
            answer = pb.AttachResponse(url=f"http://127.0.0.1:{port}/attach/token")
            async with serving(tmp_path, {"Attach": lambda _: answer}) as one:
                assert await client.heard(one, "c") == heard

    asyncio.run(scenario())


def test_an_attach_that_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(stream, "127.0.0.1", 0) as streams:
            answer = pb.AttachResponse(url=f"http://127.0.0.1:{streams.sockets[0].getsockname()[1]}/x")
            async with serving(tmp_path, {"Attach": lambda _: answer}) as one:
                with pytest.raises(Unknown, match="400 Bad Request"):
                    await client.heard(one, "c")

    asyncio.run(scenario())
