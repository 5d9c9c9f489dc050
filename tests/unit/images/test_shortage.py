"""Shortages have a code of their own and say where to look."""

import errno

import pytest
from cribus.images.shortage import behind, explained


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        (errno.ENOSPC, "RESOURCE_EXHAUSTED", "df -h"),
        (errno.EDQUOT, "RESOURCE_EXHAUSTED", "df -h"),
        (errno.ENFILE, "RESOURCE_EXHAUSTED", "open files"),
        (errno.ENOMEM, "RESOURCE_EXHAUSTED", "memory"),
        (errno.EIO, "INTERNAL", "(/x)"),
    ],
)
def test_explained(number: int, code: str, says: str) -> None:
    error = explained(OSError(number, "why", "/x"), "it fails")
    assert error.code == code
    assert error.message.startswith("it fails: why")
    assert says in error.message


def test_behind_another() -> None:
    short = OSError(errno.EMFILE, "Too many open files")
    other = ValueError("cannot connect")
    assert behind(other) is None
    other.__context__ = KeyError()
    other.__context__.__cause__ = short
    assert behind(other) is short
