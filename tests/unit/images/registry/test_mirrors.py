"""Where a registry's content is asked for."""

import pytest
from cribus.config import Images, Mirror
from cribus.images.registry.mirrors import Endpoint, endpoints, is_loopback


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.8.9.1", True),
        ("[::1]:5000", True),
        ("127.evil.com", False),
        ("localhost.evil.com", False),
        ("quay.io", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_in_order() -> None:
    settings = Images(
        mirrors={
            "docker.io": Mirror(urls=["http://near/"]),
            "only": Mirror(urls=["https://a", "https://b"], only=True),
        },
        plain_http=["plain.test"],
    )
    assert endpoints(settings, "docker.io") == [
        Endpoint("http://near", "docker.io"),
        Endpoint("https://registry-1.docker.io", ""),
    ]
    assert [one.base for one in endpoints(settings, "only")] == ["https://a", "https://b"]
    assert endpoints(settings, "plain.test") == [Endpoint("http://plain.test", "")]
    assert endpoints(settings, "quay.io") == [Endpoint("https://quay.io", "")]
