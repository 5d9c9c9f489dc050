"""Image references: `[host[:port]/]repository[:tag][@digest]`, with the defaults that docker made custom.

Source: distribution's reference grammar.
"""

import re
from typing import NamedTuple

from cribus.errors import InvalidArgument

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_HOST}/)?{_PART}(?:/{_PART})*)(?::(?P<tag>\w[\w.-]{{0,127}}))?(?:@(?P<digest>sha256:[0-9a-f]{{64}}))?",
    re.ASCII,
)
_ID = re.compile(r"[0-9a-f]{64}")
DEFAULT_HOST = "docker.io"


class Reference(NamedTuple):
    """A reference made whole: host and repository are always there, and a tag or a digest."""

    host: str
    repository: str
    tag: str
    digest: str

    @property
    def name(self) -> str:
        return f"{self.host}/{self.repository}"

    @property
    def tagged(self) -> str:
        """`host/repository:tag`, or an empty string."""
        return f"{self.name}:{self.tag}" if self.tag else ""

    @property
    def wanted(self) -> str:
        """What a registry is asked for: the digest if there is one, it cannot lie."""
        return self.digest or self.tag

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """The whole reference that `text` means; a tag beside a digest says nothing more.

    Raises InvalidArgument for what is none.
    """
    found = _REFERENCE.fullmatch(text)
    if not found or len(found["name"]) > 255:
        raise InvalidArgument(f"{text!r} is no image reference; write host/repository:tag or host/repository@sha256:…")
    if _ID.fullmatch(text):
        raise InvalidArgument(f"{text!r} looks like an image id; a reference by digest is repository@sha256:…")
    first, slash, rest = found["name"].partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first or first != first.lower()):
        host, repository = first, rest
    else:
        host, repository = DEFAULT_HOST, found["name"]
    if host == "index.docker.io":
        host = DEFAULT_HOST
    if host == DEFAULT_HOST and "/" not in repository:
        repository = f"library/{repository}"
    digest = found["digest"] or ""
    return Reference(host, repository, "" if digest else found["tag"] or "latest", digest)
