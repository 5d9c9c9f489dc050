"""The one HTTP exchange that stands before a stream: a request that asks for an upgrade."""

import asyncio
from http import HTTPStatus
from typing import NamedTuple

from cribus.errors import InvalidArgument

_MAX_HEAD = 64 << 10  # bytes
_PATIENCE = 30.0  # seconds for the head to arrive


class Request(NamedTuple):
    """`headers` by lower-case name, every value in order."""

    method: str
    path: str
    headers: dict[str, list[str]]

    def first(self, name: str) -> str:
        return self.headers.get(name, [""])[0]

    def words(self, name: str) -> list[str]:
        """The items of a header that is a list, over however many lines it is spread."""
        return [word.strip() for line in self.headers.get(name, []) for word in line.split(",") if word.strip()]


async def head(reader: asyncio.StreamReader) -> Request:
    """Read a request's head. Raises InvalidArgument for what is none, EOFError when the client left."""
    try:
        async with asyncio.timeout(_PATIENCE):
            raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise InvalidArgument(f"a request's head may have {_MAX_HEAD} bytes") from error
    except TimeoutError as error:
        raise InvalidArgument(f"the request did not arrive within {_PATIENCE:g} s") from error
    return parse(raw)


def parse(raw: bytes) -> Request:
    """A request's head from its bytes. Raises InvalidArgument (RFC 9112)."""
    first, *lines = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise InvalidArgument("not an HTTP/1.1 request")
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip() or not name:
            raise InvalidArgument(f"broken header line {line[:60]!r}")
        headers.setdefault(name.lower(), []).append(value.strip())
    return Request(parts[0], parts[1].partition("?")[0], headers)


def switching(headers: dict[str, str]) -> bytes:
    """The answer that agrees to the upgrade."""
    return _answer(HTTPStatus.SWITCHING_PROTOCOLS, {"Connection": "Upgrade", **headers})


def refusal(status: HTTPStatus, why: str, headers: dict[str, str] | None = None) -> bytes:
    """An answer that ends the exchange."""
    body = why.encode() + b"\n"
    fixed = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body)), "Connection": "close"}
    return _answer(status, {**fixed, **(headers or {})}) + body


def _answer(status: HTTPStatus, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
