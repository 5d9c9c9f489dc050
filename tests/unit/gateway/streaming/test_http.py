"""The one request that stands before a stream."""

import asyncio
from http import HTTPStatus

import pytest
from cribus.errors import InvalidArgument
from cribus.gateway.streaming import http


def test_a_head() -> None:
    request = http.parse(b"POST /exec/x?y=1 HTTP/1.1\r\nHost: h\r\nX-A: 1, 2\r\nx-a:3\r\n\r\n")
    assert (request.method, request.path, request.first("host"), request.first("none")) == ("POST", "/exec/x", "h", "")
    assert request.words("x-a") == ["1", "2", "3"]


@pytest.mark.parametrize("raw", [b"nonsense\r\n\r\n", b"GET / HTTP/2\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"])
def test_what_is_no_head(raw: bytes) -> None:
    with pytest.raises(InvalidArgument):
        http.parse(raw)


def test_a_head_has_a_limit_and_an_end() -> None:
    async def run(data: bytes) -> None:
        reader = asyncio.StreamReader(limit=100)
        reader.feed_data(data)
        reader.feed_eof()
        await http.head(reader)

    with pytest.raises(InvalidArgument):
        asyncio.run(run(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100 + b"\r\n"))
    with pytest.raises(EOFError):
        asyncio.run(run(b"GET /"))


def test_answers() -> None:
    assert (
        http.switching({"Upgrade": "x"})
        == b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
    )
    assert http.refusal(HTTPStatus.NOT_FOUND, "why").endswith(b"Content-Length: 4\r\nConnection: close\r\n\r\nwhy\n")
