"""Where a registry's content is asked for: its mirrors in order, then itself."""

from cribus.config import Images

_LOOPBACK = ("localhost", "127.", "[::1]")
_HUB = "registry-1.docker.io"


def endpoints(settings: Images, host: str) -> list[str]:
    """Base URLs, without the /v2, for a registry host of a reference."""
    mirror = settings.mirrors.get(host)
    urls = [url.rstrip("/") for url in mirror.urls] if mirror else []
    if mirror is None or not mirror.only:
        plain = host in settings.plain_http or host.startswith(_LOOPBACK)
        real = _HUB if host == "docker.io" else host
        urls.append(f"{'http' if plain else 'https'}://{real}")
    return urls
