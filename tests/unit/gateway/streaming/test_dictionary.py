"""The dictionary must be the very bytes of the specification."""

import zlib

from cribus.gateway.streaming.dictionary import DICTIONARY


def test_checksum() -> None:
    # Every SPDY/3 zlib stream names its dictionary by this Adler-32, in bytes 2 to 6.
    assert len(DICTIONARY) == 1423
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2
