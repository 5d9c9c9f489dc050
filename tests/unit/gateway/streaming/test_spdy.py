"""SPDY/3.1 framing, against the client's half in `peer`."""

import struct

import pytest
from cribus.errors import InvalidArgument
from cribus.gateway.streaming import spdy

from tests.unit.gateway.streaming.peer import Peer, control, data


def test_streams_open_with_headers_and_shared_compression() -> None:
    peer, session = Peer(), spdy.Session()
    wire = peer.open(1, {"Streamtype": "error"}) + peer.open(3, {"Streamtype": "stdin", "Port": "80"}, fin=True)
    assert session.feed(wire) == [
        spdy.Opened(1, {"streamtype": "error"}, False),
        spdy.Opened(3, {"streamtype": "stdin", "port": "80"}, True),
    ]
    session.reply(1)
    session.reply(3)
    nothing = struct.pack(">I", 0)
    assert peer.frames(session.take()) == [(2, struct.pack(">I", 1) + nothing), (2, struct.pack(">I", 3) + nothing)]
    assert session.take() == b""


def test_any_cut_means_the_same() -> None:
    peer = Peer()
    wire = peer.open(1, {"a": "b"}) + data(1, b"hello") + data(1, b" world", fin=True) + data(3, b"", fin=True)
    session, events = spdy.Session(), []
    for at in range(len(wire)):
        events += session.feed(wire[at : at + 1])
    assert events[0] == spdy.Opened(1, {"a": "b"}, False)
    of_one = [event for event in events if isinstance(event, spdy.Data) and event.stream == 1]
    assert b"".join(event.data for event in of_one) == b"hello world"
    assert [event.ended for event in of_one] == [False] * (len(of_one) - 1) + [True]
    assert events[-1] == spdy.Data(3, b"", True)


def test_data_is_sent_in_chunks_with_fin_on_the_last() -> None:
    session = spdy.Session()
    session.data(5, b"x" * (spdy.CHUNK + 1), fin=True)
    session.data(7, b"", fin=True)
    assert Peer().frames(session.take()) == [
        ("data", 5, False, b"x" * spdy.CHUNK),
        ("data", 5, True, b"x"),
        ("data", 7, True, b""),
    ]


def test_pings_of_the_client_are_answered() -> None:
    session = spdy.Session()
    assert session.feed(control(6, struct.pack(">I", 1)) + control(6, struct.pack(">I", 2))) == []
    assert session.take() == control(6, struct.pack(">I", 1))


def test_reset_and_goaway() -> None:
    session = spdy.Session()
    wire = control(3, struct.pack(">II", 5, spdy.CANCEL)) + control(7, struct.pack(">II", 9, 0))
    assert session.feed(wire) == [spdy.Reset(5, spdy.CANCEL), spdy.GoAway(9)]
    session.reset(3, spdy.REFUSED_STREAM)
    session.goaway(9)
    assert session.take() == control(3, struct.pack(">II", 3, 3)) + control(7, struct.pack(">II", 9, 0))


def test_a_peer_without_flow_control_is_sent_everything() -> None:
    session = spdy.Session()
    session.data(1, b"x" * (4 * spdy.WINDOW))
    assert session.room(1) > 0


def test_a_peer_with_flow_control_is_obeyed() -> None:
    session = spdy.Session()
    assert session.feed(control(4, struct.pack(">III", 1, 7, 1000))) == [spdy.Credit(0)]
    session.data(1, b"x" * 900)
    assert (session.room(1), session.room(3)) == (100, 1000)
    session.data(1, b"x" * 100)
    assert session.room(1) == 0
    assert session.feed(control(9, struct.pack(">II", 1, 50))) == [spdy.Credit(1)]
    assert session.room(1) == 50


def test_what_was_used_is_granted_again() -> None:
    session = spdy.Session()
    session.used(1, spdy.WINDOW // 2 - 1)
    assert session.take() == b""
    session.used(1, 1)
    assert session.take() == control(9, struct.pack(">II", 1, spdy.WINDOW // 2))


@pytest.mark.parametrize(
    "wire",
    [
        control(1, b"", version=2),
        control(1, b"\0\0"),
        control(1, struct.pack(">IIBB", 1, 0, 0, 0) + b"no zlib"),
        struct.pack(">II", 0x80030001, 1 << 20),
        Peer().open(1, {"a": "b" * (1 << 17)}),
        control(4, struct.pack(">I", 1000)),
    ],
    ids=["version", "short", "zlib", "large", "bomb", "settings"],
)
def test_rubbish_is_refused(wire: bytes) -> None:
    with pytest.raises(InvalidArgument):
        spdy.Session().feed(wire)
