"""The storm's own registry, on loopback: it has the images that are offered, and fails as the plan says.

Each connection is for one request, so that a reset is about that one alone.
Source: distribution-spec 1.1, "Pull"; RFC 9110, 14.2 (ranges).
"""

import asyncio
import contextlib
import re
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus

from cribus.cli.storm.image import Made
from cribus.cli.storm.plan import MANIFEST, RESET, Fault

_LOOPBACK = "127.0.0.1"
_NAMES = "cribus-chaos"  # before the first slash of its repositories' names
_TAG = "v1"
_REQUEST = re.compile(rb"GET (\S+) HTTP/1\.[01]\r\n")
_RANGE = re.compile(rb"\r\nrange: *bytes=(\d+)-", re.IGNORECASE)
_GONE = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)  # a client that was killed, or is none


def ours(name: str) -> bool:
    """Whether an image's name is of a storm's registry, this one or an earlier one."""
    return name.startswith(f"{_LOOPBACK}:") and f"/{_NAMES}/" in name


class _Offer:
    """Something that can be asked for, and how often it fails before."""

    def __init__(self, kind: str, data: bytes, faults: tuple[Fault, ...]) -> None:
        self.kind = kind
        self.data = data
        self.faults = [*faults]


class Registry:
    """`faults` counts those that were met, by kind."""

    def __init__(self) -> None:
        self.host = ""
        self.faults: Counter[str] = Counter()
        self._offers: dict[str, _Offer] = {}  # by path
        self._going: set[asyncio.Task[None]] = set()

    def offer(self, name: str, made: Made, faults: Mapping[str, tuple[Fault, ...]]) -> str:
        """Have an image under this name: its reference."""
        for part in made.parts:
            place, kind = f"blobs/{part.digest}", "application/octet-stream"
            if part.kind == MANIFEST:
                place, kind = f"manifests/{_TAG}", made.kind
            self._offers[f"/v2/{_NAMES}/{name}/{place}"] = _Offer(kind, part.data, faults.get(part.kind, ()))
        return f"{self.host}/{_NAMES}/{name}:{_TAG}"

    def withdraw(self, name: str) -> None:
        """It is not asked for any more."""
        for path in [one for one in self._offers if one.startswith(f"/v2/{_NAMES}/{name}/")]:
            del self._offers[path]

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """While inside it answers."""
        server = await asyncio.start_server(self._connected, _LOOPBACK, 0)
        self.host = f"{_LOOPBACK}:{server.sockets[0].getsockname()[1]}"
        try:
            yield
        finally:
            server.close()
            for task in self._going:
                task.cancel()
            await asyncio.gather(*self._going, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._going.add(task)
        try:
            with contextlib.suppress(*_GONE):
                await self._answer(await reader.readuntil(b"\r\n\r\n"), writer)
        finally:
            self._going.discard(task)
            writer.close()

    async def _answer(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        asked = _REQUEST.match(head)
        offer = self._offers.get(asked[1].decode(errors="replace")) if asked else None
        if offer is None:
            return await _refuse(writer, HTTPStatus.NOT_FOUND)
        fault = offer.faults.pop(0) if offer.faults else None
        if fault is not None:
            self.faults[fault.kind] += 1
            if fault.status:
                return await _refuse(writer, HTTPStatus(fault.status))
        wanted = _RANGE.search(head)
        start = int(wanted[1]) if wanted else 0
        body = offer.data[start:]
        lines = [_status(HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK), f"Content-Type: {offer.kind}"]
        lines += [f"Content-Length: {len(body)}", "Connection: close"]
        if wanted:
            lines.append(f"Content-Range: bytes {start}-{len(offer.data) - 1}/{len(offer.data)}")
        sent = body if fault is None else body[: int(fault.after * len(body))]
        writer.write("\r\n".join([*lines, "", ""]).encode() + sent)
        await writer.drain()
        if fault is not None and fault.kind == RESET:
            _reset(writer)
        return None


def _status(status: HTTPStatus) -> str:
    return f"HTTP/1.1 {status.value} {status.phrase}"


async def _refuse(writer: asyncio.StreamWriter, status: HTTPStatus) -> None:
    later = ["Retry-After: 1"] if status is HTTPStatus.TOO_MANY_REQUESTS else []
    lines = [_status(status), *later, "Content-Length: 0", "Connection: close", "", ""]
    writer.write("\r\n".join(lines).encode())
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection off (socket(7), SO_LINGER: closed without waiting, it is reset)."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
