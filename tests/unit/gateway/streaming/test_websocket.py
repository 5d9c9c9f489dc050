"""WebSocket framing (RFC 6455)."""

import struct

import pytest
from cribus.errors import InvalidArgument
from cribus.gateway.streaming import websocket as w

from tests.unit.gateway.streaming.masked import masked


def test_the_specifications_own_example() -> None:
    assert w.accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, 1.3
    hello = bytes.fromhex("818537fa213d7f9f4d5158")  # 5.7
    assert w.Decoder().feed(hello) == [w.Data(b"Hello", True, True, True)]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 1 << 20])
def test_sizes_both_ways(size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    assert w.Decoder().feed(masked(w.BINARY, payload[:size])) == [w.Data(payload[:size], True, True, False)]
    sent = w.frame(w.BINARY, payload[:size])
    assert sent.endswith(payload[:size])
    assert len(sent) - size == (2 if size < 126 else 4 if size < 65536 else 10)


def test_any_cut_means_the_same() -> None:
    wire = masked(w.BINARY, b"ab", last=False) + masked(w.PING, b"?") + masked(0, b"cd") + masked(w.CLOSE, b"\x03\xe8")
    decoder, events = w.Decoder(), []
    for at in range(len(wire)):
        events += decoder.feed(wire[at : at + 1])
    assert events == [w.Data(b"ab", True, False, False), w.Ping(b"?"), w.Data(b"cd", False, True, False), w.Close(1000)]


def test_pongs_mean_nothing() -> None:
    assert w.Decoder().feed(masked(w.PONG, b"x") + masked(w.CLOSE, b"")) == [w.Close(w.NORMAL)]


def test_closing_fits_a_control_frame() -> None:
    assert len(w.closing(w.NORMAL, "x" * 500)) <= 127


@pytest.mark.parametrize(
    "wire",
    [
        w.frame(w.BINARY, b"no mask"),
        masked(0, b"continues nothing"),
        masked(w.BINARY, b"", last=False) + masked(w.BINARY, b"begins again"),
        b"\xc2\x80\0\0\0\0",
        struct.pack(">BBQ", 0x82, 0xFF, 1 << 40) + bytes(4),
        masked(w.PING, b"x" * 126),
        masked(3, b"unknown"),
    ],
    ids=["unmasked", "continuation", "interleaved", "reserved", "huge", "ping", "kind"],
)
def test_rubbish_is_refused(wire: bytes) -> None:
    with pytest.raises(InvalidArgument):
        w.Decoder().feed(wire)
