"""Digests of what several threads make, each in its order."""

import hashlib
import os

from cribus.images.aside import Digests


def test_two_digests_at_once() -> None:
    digests = Digests()
    one, two = digests.new(), digests.new()
    chunks = [os.urandom(10_000) for _ in range(50)]
    for chunk in chunks:
        one.update(chunk)
        two.update(chunk[::-1])
    assert one.digest() == "sha256:" + hashlib.sha256(b"".join(chunks)).hexdigest()
    assert two.digest() == "sha256:" + hashlib.sha256(b"".join(c[::-1] for c in chunks)).hexdigest()
    one.update(b"more")
    assert one.digest() == "sha256:" + hashlib.sha256(b"".join([*chunks, b"more"])).hexdigest()
    digests.close()
