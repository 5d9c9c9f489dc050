"""The storm's client: CRI over gRPC, as a kubelet is one. What fails because a part of the node is away is
asked again, until it succeeds or so much time has passed that it must be called stuck.

The one module of the command line that knows gRPC: who asks the bus instead would not see the gateway die.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import grpc
from grpc import aio

from cribus.bus.connection import RETRY, pause
from cribus.errors import DeadlineExceeded, Unknown, from_code
from cribus.gateway.cri import api_pb2 as pb
from cribus.gateway.cri import api_pb2_grpc as stubs

PATIENCE = 30.0  # seconds after which a call that does not succeed is stuck
_ONCE = 15.0  # seconds for one try
_AGAIN = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)
_RECONNECT = [(f"grpc.{name}_reconnect_backoff_ms", 20) for name in ("initial", "min", "max")]


class Client:
    """`again` counts, by call and code, what was asked again."""

    def __init__(self, socket: str) -> None:
        self.again: Counter[str] = Counter()
        self._channel = aio.insecure_channel(f"unix://{socket}", options=_RECONNECT)
        self._runtime = stubs.RuntimeServiceStub(self._channel)
        self._images = stubs.ImageServiceStub(self._channel)

    async def once(self, method: str, seconds: float, **fields: Any) -> Any:
        """One try; the request from its fields. Raises AioRpcError."""
        stub = self._images if "Image" in method else self._runtime
        request = getattr(pb, f"{method}Request")(**fields)
        return await getattr(stub, method)(request, timeout=seconds, wait_for_ready=True)

    async def ask(self, method: str, patience: float = PATIENCE, **fields: Any) -> Any:
        """The answer, at last. Raises the node's own error for what no repeat mends, and DeadlineExceeded."""
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        while True:
            left = end - loop.time()
            try:
                return await self.once(method, max(0.1, min(_ONCE, left)), **fields)
            except aio.AioRpcError as error:
                if error.code() not in _AGAIN:
                    raise from_code(error.code().name, f"{method}: {error.details()}") from error
                if left <= 0:
                    said = (
                        f"{method} is stuck: asked for {patience:g} s; at last {error.code().name}: {error.details()}"
                    )
                    raise DeadlineExceeded(said) from error
                self.again[f"{method} {error.code().name}"] += 1
            await pause(RETRY)

    async def hurry(self, method: str, milliseconds: int, **fields: Any) -> Any:
        """Ask, and go away after so long: the answer, or None, and then it must be asked again."""
        with contextlib.suppress(aio.AioRpcError):
            return await self.once(method, milliseconds / 1000, **fields)
        return None

    async def close(self) -> None:
        await self._channel.close()


@contextlib.asynccontextmanager
async def connected(socket: str) -> AsyncIterator[Client]:
    client = Client(socket)
    try:
        yield client
    finally:
        await client.close()


async def heard(client: Client, container: str) -> bytes:
    """Attach to a container over WebSocket, wait for some of its output, and leave: what was heard.

    Empty when the connection broke first, as it does when the gateway is killed.
    """
    answer = await client.ask("Attach", container_id=container, stdin=False, tty=False, stdout=True, stderr=True)
    url = urlsplit(answer.url)
    try:
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
    except OSError:
        return b""
    try:
        writer.write(_UPGRADE.format(path=url.path, host=url.netloc).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        status = head.split(b"\r\n")[0].decode(errors="replace")
        if " 404 " in status:  # another gateway listens there now
            return b""
        if " 101 " not in status:
            raise Unknown(f"attach: {status}")
        return await _output(reader)
    except (OSError, asyncio.IncompleteReadError):
        return b""
    finally:
        writer.close()
        with contextlib.suppress(OSError):  # a gateway that was killed has closed it
            await writer.wait_closed()


_UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: Y3JpYnVzIGEgc3Rvcm0hIQ==\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"
)


async def _output(reader: asyncio.StreamReader) -> bytes:
    """The first message on lane 1 that says anything; a server's frames have no mask (RFC 6455, 5.2)."""
    while True:
        first, size = await reader.readexactly(2)
        if size >= 126:
            size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
        data = await reader.readexactly(size)
        if first & 0x0F in (0, 2) and data[:1] == b"\x01" and len(data) > 1:
            return data[1:]
        if first & 0x0F == 8:
            return b""
