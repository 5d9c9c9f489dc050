"""gzip, zstd and neither; several in a row; bombs and damage."""

import gzip
import os
from collections.abc import Iterator

import pytest
import zstandard
from cribus.errors import DataLoss, InvalidArgument
from cribus.images.inflate import inflate, kind

DATA = os.urandom(3 << 20) + bytes(9 << 20)
WAYS = {"gzip": lambda data: gzip.compress(data, 1), "zstd": zstandard.compress, "": bytes}


def cut(data: bytes, size: int = 100_000) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@pytest.mark.parametrize("way", WAYS)
def test_whole(way: str) -> None:
    packed = WAYS[way](DATA)
    assert kind(packed) == way
    assert b"".join(inflate(cut(packed), len(DATA))) == DATA


@pytest.mark.parametrize("way", ["gzip", "zstd"])
def test_several_in_a_row(way: str) -> None:
    packed = WAYS[way](DATA[:1000]) + WAYS[way](b"") + WAYS[way](DATA[1000:])
    assert b"".join(inflate(cut(packed, 7001), len(DATA))) == DATA


def test_zeros_behind_gzip_are_filling() -> None:
    assert b"".join(inflate(cut(gzip.compress(b"x") + bytes(1000), 10), 10)) == b"x"


@pytest.mark.parametrize("way", WAYS)
def test_a_bomb(way: str) -> None:
    pieces = map(len, inflate(cut(WAYS[way](bytes(50 << 20))), 1 << 20))
    with pytest.raises(InvalidArgument, match="max_layer_size"):
        assert max(pieces) <= 4 << 20


def test_damage() -> None:
    packed = gzip.compress(DATA[:100_000])
    for bad in (packed[:-10], packed[:5000] + b"rubbish" + packed[5007:], packed + b"rubbish"):
        with pytest.raises(DataLoss):
            b"".join(inflate(cut(bad), 1 << 30))
    with pytest.raises(DataLoss):
        b"".join(inflate(cut(zstandard.compress(DATA[:1000]) + b"rubbish!"), 1 << 30))


def test_nothing() -> None:
    assert list(inflate(iter([]), 10)) == []
