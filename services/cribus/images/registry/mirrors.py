"""Where a registry's content is asked for: its mirrors in order, then itself."""

from typing import NamedTuple

from cribus.config import Images

_HUB = "registry-1.docker.io"


class Endpoint(NamedTuple):
    base: str  # URL, without the /v2
    namespace: str  # the registry that a mirror stands in for; empty for the registry itself


def endpoints(settings: Images, host: str) -> list[Endpoint]:
    """Where to ask for what a reference's registry host holds, best first."""
    mirror = settings.mirrors.get(host)
    found = [Endpoint(url.rstrip("/"), host) for url in mirror.urls] if mirror else []
    if mirror is None or not mirror.only:
        plain = host in settings.plain_http or is_loopback(host)
        real = _HUB if host == "docker.io" else host
        found.append(Endpoint(f"{'http' if plain else 'https'}://{real}", ""))
    return found


def is_loopback(host: str) -> bool:
    """Whether a registry host, perhaps with a port, is this machine: it may do without TLS."""
    name = host if host.startswith("[") else host.partition(":")[0]
    return name in ("localhost", "[::1]") or host.startswith("[::1]:") or _dotted(name)


def _dotted(name: str) -> bool:
    pieces = name.split(".")
    return len(pieces) == 4 and pieces[0] == "127" and all(piece.isdigit() for piece in pieces)
