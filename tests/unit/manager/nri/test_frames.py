"""Frames within frames, cut wherever."""

import struct

import pytest
from cribus.manager.nri.frames import MOST, PLUGIN, REQUEST, RESPONSE, RUNTIME, Frame, Inbox, pack
from cribus.manager.nri.protobuf import Malformed


def test_a_small_message_is_one_frame() -> None:
    assert pack(RUNTIME, Frame(3, REQUEST, b"hi")) == bytes.fromhex("00000002 0000000c 00000002 00000003 01 00") + b"hi"


@pytest.mark.parametrize("size", [4086, 4087, 9000])
def test_a_large_message_is_its_first_4096_bytes_and_the_rest(size: int) -> None:
    """As Go's buffers cut it: its multiplexer refuses a frame that is larger than what is being read."""
    packed = pack(PLUGIN, Frame(1, REQUEST, bytes(size)))
    sizes, at = [], 0
    while at < len(packed):
        _, length = struct.unpack_from(">II", packed, at)
        sizes.append(length)
        at += 8 + length
    whole = size + 10
    assert sizes == ([whole] if whole <= 4096 else [4096, whole - 4096])


def test_nobody_takes_more_than_four_mebibytes() -> None:
    with pytest.raises(ValueError, match="ttrpc takes"):
        pack(PLUGIN, Frame(1, REQUEST, bytes(MOST + 1)))


@pytest.mark.parametrize("step", [1, 7, 5000, 1 << 20])
def test_frames_come_out_however_they_are_cut(step: int) -> None:
    sent = [
        (PLUGIN, Frame(1, RESPONSE, b"a" * 5000)),
        (RUNTIME, Frame(1, REQUEST, b"")),
        (PLUGIN, Frame(3, RESPONSE, b"b")),
    ]
    data = b"".join(pack(connection, frame) for connection, frame in sent)
    inbox, found = Inbox(), []
    for at in range(0, len(data), step):
        found += inbox.feed(data[at : at + step])
    assert found == sent


def test_the_two_connections_do_not_mix() -> None:
    first, second = pack(PLUGIN, Frame(1, RESPONSE, b"x" * 6000)), pack(RUNTIME, Frame(1, REQUEST, b"y"))
    cut = 8 + 4096
    assert Inbox().feed(first[:cut] + second + first[cut:]) == [
        (RUNTIME, Frame(1, REQUEST, b"y")),
        (PLUGIN, Frame(1, RESPONSE, b"x" * 6000)),
    ]


def test_other_connections_are_passed_over() -> None:
    assert Inbox().feed(struct.pack(">II", 7, 3) + b"abc" + pack(RUNTIME, Frame(1, REQUEST, b""))) == [
        (RUNTIME, Frame(1, REQUEST, b""))
    ]


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n\r\n", struct.pack(">IIIIBB", PLUGIN, 10, MOST + 1, 1, 1, 0)],
    ids=["outside", "inside"],
)
def test_what_is_no_frame_is_told(data: bytes) -> None:
    with pytest.raises(Malformed):
        Inbox().feed(data)
