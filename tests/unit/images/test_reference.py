"""References made whole."""

import pytest
from cribus.errors import InvalidArgument
from cribus.images.reference import parse

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("user/thing:1", "docker.io/user/thing:1"),
        ("index.docker.io/x", "docker.io/library/x:latest"),
        ("localhost/x", "localhost/x:latest"),
        ("host:5000/a/b:tag", "host:5000/a/b:tag"),
        ("[::1]:5000/a", "[::1]:5000/a:latest"),
        (f"quay.io/a@{DIGEST}", f"quay.io/a@{DIGEST}"),
        (f"quay.io/a:tag@{DIGEST}", f"quay.io/a@{DIGEST}"),
    ],
)
def test_whole(text: str, whole: str) -> None:
    found = parse(text)
    assert str(found) == whole
    assert found.wanted == (found.digest or found.tag)
    assert found.tagged == ("" if found.digest else whole)


@pytest.mark.parametrize("text", ["", "UPPER", "a b", "a:", "a@sha256:12", "../a", "a//b", "-a", "a" * 2000, "a" * 64])
def test_none(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"reference"):
        parse(text)
