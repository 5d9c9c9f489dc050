"""The streaming server, driven by the real crictl over both of its transports."""

import asyncio
import contextlib
import os
import pty
import re
import termios
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cribus.api import images, manager, shim
from cribus.api.cri import container as c
from cribus.api.cri import stats as u
from cribus.api.cri.values import ContainerState
from cribus.errors import FailedPrecondition
from cribus.gateway.streaming import server
from cribus.gateway.streaming.server import Streaming

from tests.certificate import certificate_in
from tests.unit.gateway.stand import (
    CONTAINER,
    CRICTL,
    POD,
    Calls,
    Shim,
    crictl,
    gateway,
    located,
    needs_crictl,
    program,
)

pytestmark = needs_crictl
both = pytest.mark.parametrize("transport", ["spdy", "websocket"])


def _table(shims: Shim, **where: Any) -> dict[Any, Any]:
    status = c.ContainerStatus(
        id=CONTAINER, state=ContainerState.CONTAINER_RUNNING, metadata=c.ContainerMetadata(name="n")
    )
    return {
        images.FS_INFO: lambda request: u.ImageFsInfoResponse(),
        manager.CONTAINER_STATUS: lambda request: c.ContainerStatusResponse(status=status),
        manager.LOCATE: located(**where),
        shim.EXEC: shims.opened,
        shim.ATTACH: shims.opened,
    }


def run(tmp_path: Path, *args: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """crictl with these arguments against a gateway whose containers run `program`."""

    async def main() -> tuple[int, str, str]:
        shims = Shim(program)
        async with gateway(tmp_path, Calls(_table(shims)), shims) as endpoint:
            return await crictl(endpoint, *args, stdin=stdin)

    return asyncio.run(main())


@both
def test_exec(tmp_path: Path, transport: str) -> None:
    code, out, err = run(tmp_path, "exec", "--transport", transport, CONTAINER, "echo", "a", "b")
    assert (code, out) == (0, "a b\n")
    assert err.endswith("said\n")


@both
def test_exec_tells_the_exit_code(tmp_path: Path, transport: str) -> None:
    code, _, err = run(tmp_path, "exec", "--transport", transport, CONTAINER, "exit", "7")
    assert code != 0
    assert "exit code 7" in err


@both
def test_exec_streams_beyond_every_window(tmp_path: Path, transport: str) -> None:
    said = "0123456789abcdef" * 100_000
    code, out, _ = run(tmp_path, "exec", "-i", "--transport", transport, CONTAINER, "cat", stdin=said.encode())
    assert (code, out == said) == (0, True)
    code, out, _ = run(tmp_path, "exec", "--transport", transport, CONTAINER, "fill", "100")
    assert (code, len(out)) == (0, 100 * 65536)


@both
def test_attach(tmp_path: Path, transport: str) -> None:
    code, out, _ = run(tmp_path, "attach", "-i", "--transport", transport, CONTAINER, stdin=b"typed")
    assert (code, out) == (0, "typed")


@both
def test_a_refused_exec_says_why(tmp_path: Path, transport: str) -> None:
    async def main() -> tuple[int, str, str]:
        shims = Shim(program)
        table = _table(shims)
        del table[shim.EXEC]
        async with gateway(tmp_path, Calls(table), shims) as endpoint:
            return await crictl(endpoint, "exec", "--transport", transport, CONTAINER, "echo")

    code, _, err = asyncio.run(main())
    assert code != 0
    assert "nobody serves shim.exec" in err


def _everything(terminal: int) -> bytes:
    """What was written to a terminal whose other end is closed; EIO is its end."""
    said = b""
    with contextlib.suppress(OSError):
        while block := os.read(terminal, 65536):
            said += block
    os.close(terminal)
    return said


@both
def test_exec_in_a_terminal(tmp_path: Path, transport: str) -> None:
    """crictl exec -it on a real terminal: its size arrives."""

    async def main() -> bytes:
        shims = Shim(program)
        async with gateway(tmp_path, Calls(_table(shims)), shims) as endpoint:
            ours, theirs = pty.openpty()
            termios.tcsetwinsize(theirs, (33, 77))
            endpoints = (f"--runtime-endpoint={endpoint}", f"--image-endpoint={endpoint}")
            args = ("exec", "-it", "--transport", transport, CONTAINER, "size")
            process = await asyncio.create_subprocess_exec(
                CRICTL, *endpoints, *args, stdin=theirs, stdout=theirs, stderr=theirs
            )
            os.close(theirs)
            async with asyncio.timeout(20):
                assert await process.wait() == 0
            return _everything(ours)

    assert b"77x33" in asyncio.run(main())


@both
def test_a_client_that_dies_is_noticed(tmp_path: Path, transport: str) -> None:
    async def main() -> None:
        shims = Shim(program)
        async with gateway(tmp_path, Calls(_table(shims)), shims) as endpoint:
            endpoints = (f"--runtime-endpoint={endpoint}", f"--image-endpoint={endpoint}")
            args = ("exec", "--transport", transport, CONTAINER, "wait")
            process = await asyncio.create_subprocess_exec(CRICTL, *endpoints, *args)
            async with asyncio.timeout(20):
                await shims.started.wait()
                process.kill()
                await process.wait()
                (running,) = shims.processes.values()
                await running.gone.wait()

    asyncio.run(main())


@contextlib.asynccontextmanager
async def _echo() -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(65536):
            writer.write(block)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def _forwarded(endpoint: str, transport: str, port: int) -> AsyncIterator[int]:
    """crictl port-forward to `port`; yields its local port."""
    endpoints = (f"--runtime-endpoint={endpoint}", f"--image-endpoint={endpoint}")
    args = ("port-forward", "--transport", transport, POD, f":{port}")
    process = await asyncio.create_subprocess_exec(CRICTL, *endpoints, *args, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = await process.stdout.readline()
        found = re.search(rb"127\.0\.0\.1:(\d+)", line)
        assert found, line
        yield int(found[1])
    finally:
        process.terminate()
        await process.communicate()


async def _said(port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    writer.write_eof()
    heard = await reader.read(-1)
    writer.close()
    await writer.wait_closed()
    return heard


@both
def test_port_forward_of_100_connections_at_once(tmp_path: Path, transport: str) -> None:
    async def main() -> None:
        shims = Shim(program)
        async with (
            asyncio.timeout(60),
            gateway(tmp_path, Calls(_table(shims)), shims) as endpoint,
            _echo() as port,
            _forwarded(endpoint, transport, port) as local,
        ):
            texts = [bytes([number]) * (1000 * number + 1) for number in range(100)]
            assert await asyncio.gather(*(_said(local, text) for text in texts)) == texts

    asyncio.run(main())


UPGRADE = b"Connection: Upgrade\r\nUpgrade: "
REFUSED = {
    b"nonsense\r\n\r\n": b"400",
    b"GET /exec/x HTTP/1.1\r\n\r\n": b"400",
    b"POST /exec/guess HTTP/1.1\r\n" + UPGRADE + b"SPDY/3.1\r\n\r\n": b"404",
    b"POST {door} HTTP/1.1\r\n" + UPGRADE + b"SPDY/3.1\r\nX-Stream-Protocol-Version: v9\r\n\r\n": b"403",
    b"GET {door} HTTP/1.1\r\n" + UPGRADE + b"websocket\r\nSec-WebSocket-Protocol: v9\r\n\r\n": b"400",
}


@pytest.mark.parametrize("request_", REFUSED)
def test_what_is_no_stream_is_refused(request_: bytes) -> None:
    async def main() -> bytes:
        shims = Shim(program)
        streaming = Streaming(Calls(_table(shims)), shims.lines)
        async with streaming.serving("127.0.0.1:0"):
            url = streaming.exec(shim.OpenExec(container=CONTAINER, stream="", cmd=["x"]))
            _, _, address, path = url.split("/", 3)
            port = address.rpartition(":")[2]
            return await _said(int(port), request_.replace(b"{door}", b"/" + path.encode()))

    assert asyncio.run(main()).split(b" ")[1] == REFUSED[request_]


@both
def test_streams_over_tls(tmp_path: Path, transport: str) -> None:
    certificate, key = certificate_in(tmp_path)
    said = "0123456789abcdef" * 100_000

    async def main() -> tuple[int, str, str]:
        shims = Shim(program)
        tls = server.tls(str(certificate), str(key))
        async with gateway(tmp_path, Calls(_table(shims)), shims, tls=tls) as endpoint:
            own = ("--tls-cert", str(certificate), "--tls-key", str(key))  # crictl wants one; nobody asks for it
            trusting = ("--tls-ca", str(certificate), *own, "--transport", transport)
            return await crictl(endpoint, "exec", "-i", *trusting, CONTAINER, "cat", stdin=said.encode())

    code, out, err = asyncio.run(main())
    assert (code, out == said) == (0, True), err


def test_what_is_no_certificate_is_refused(tmp_path: Path) -> None:
    assert server.tls("", "") is None
    (tmp_path / "rubbish").write_text("rubbish")
    for path in (tmp_path / "none", tmp_path / "rubbish"):
        with pytest.raises(FailedPrecondition, match="streaming_certificate"):
            server.tls(str(path), str(path))
