import pytest
from cribus.bus import wire
from cribus.errors import InvalidArgument

STREAM = (
    b'INFO {"headers":true}\r\n+OK\r\nPING\r\nMSG a.b 7 5\r\nhello\r\nMSG a.b 7 re.ply 0\r\n\r\nPONG\r\n'
    b"HMSG c 8 r 12 14\r\nNATS/1.0\r\n\r\nhi\r\nHMSG c 8 16 16\r\nNATS/1.0 503\r\n\r\n\r\n-ERR 'Stale Connection'\r\n"
)


def described(event: wire.Event) -> object:
    if isinstance(event, wire.Message):
        return (event.subject, event.sid, event.reply, event.payload, event.status)
    if isinstance(event, wire.Info):
        return event.options
    return event.text if isinstance(event, wire.Problem) else type(event).__name__


EVENTS = [
    {"headers": True},
    "Ping",
    ("a.b", 7, "", b"hello", 0),
    ("a.b", 7, "re.ply", b"", 0),
    "Pong",
    ("c", 8, "r", b"hi", 0),
    ("c", 8, "", b"", 503),
    "Stale Connection",
]


@pytest.mark.parametrize("size", [1, 2, 3, 17, 1000])
def test_events_however_the_bytes_are_cut(size: int) -> None:
    parser = wire.Parser()
    found = [e for at in range(0, len(STREAM), size) for e in parser.feed(STREAM[at : at + size])]
    assert [described(event) for event in found] == EVENTS


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n", b"x" * (2 << 20)])
def test_what_is_not_this_protocol(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match=r"bus\.url"):
        list(wire.Parser().feed(data))


def test_what_a_client_writes() -> None:
    assert wire.sub("a.*", 3) == b"SUB a.* 3\r\n"
    assert wire.unsub(3) == b"UNSUB 3\r\n"
    assert wire.pub("a", b"xy") == b"PUB a 2\r\nxy\r\n"
    assert wire.pub("a", b"", "r") == b"PUB a r 0\r\n\r\n"
    assert wire.hpub("a", {"K": "v"}, b"xy", "r") == b"HPUB a r 18 20\r\nNATS/1.0\r\nK: v\r\n\r\nxy\r\n"
    said = wire.connect("me", "u", "p")
    assert said.startswith(b"CONNECT {")
    assert b'"user":"u","pass":"p"' in said
    assert b"user" not in wire.connect("me", "", "")
