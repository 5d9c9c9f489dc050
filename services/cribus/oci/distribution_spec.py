"""What the distribution-spec (OCI 1.1) says about pulling: paths, limits, and the shape of an error."""

from typing import TypedDict

MANIFEST_LIMIT = 4 << 20  # bytes of a manifest that every registry must take


class Problem(TypedDict, total=False):
    code: str
    message: str


class Errors(TypedDict, total=False):
    """The body of an answer of 4xx."""

    errors: list[Problem]


class Token(TypedDict, total=False):
    """What a token service answers (distribution, token authentication)."""

    token: str
    access_token: str


def manifest(repository: str, reference: str) -> str:
    """The path of a manifest by tag or digest."""
    return f"/v2/{repository}/manifests/{reference}"


def blob(repository: str, digest: str) -> str:
    """The path of a blob."""
    return f"/v2/{repository}/blobs/{digest}"
