"""Credentials, challenges and tokens."""

import base64
from collections.abc import Callable

import httpx
import pytest
from cribus.api.cri.image import AuthConfig
from cribus.errors import InvalidArgument, Unauthenticated
from cribus.images.registry.auth import Authorization, basic, challenges, meant_for
from cribus.images.registry.mirrors import Endpoint

ME = AuthConfig(username="me", password="secret")
BEARER = 'Bearer realm="https://auth.test/token",service="s",scope="repository:a:pull"'


def authorization(
    config: AuthConfig | None, answer: Callable[[httpx.Request], httpx.Response] = lambda _: httpx.Response(500)
) -> Authorization:
    http = httpx.Client(transport=httpx.MockTransport(answer))
    return Authorization(config, http, Endpoint("https://registry.test", ""))


def test_user_and_password() -> None:
    assert basic(None) == ("", "")
    assert basic(ME) == ("me", "secret")
    assert basic(AuthConfig(auth=base64.b64encode(b"me:a:b\0").decode())) == ("me", "a:b")
    with pytest.raises(InvalidArgument, match="base64"):
        basic(AuthConfig(auth="?"))


@pytest.mark.parametrize(
    ("server", "host", "given"),
    [
        ("", "a.test", True),
        ("https://a.test/v2", "a.test", True),
        ("https://index.docker.io/v1/", "docker.io", True),
        ("b.test", "a.test", False),
    ],
)
def test_credentials_go_to_their_registry_alone(server: str, host: str, given: bool) -> None:
    assert (meant_for(AuthConfig(username="me", server_address=server), host) is not None) is given


def test_challenges() -> None:
    assert challenges('Basic realm="x", ' + BEARER) == {
        "basic": {"realm": "x"},
        "bearer": {"realm": "https://auth.test/token", "service": "s", "scope": "repository:a:pull"},
    }
    assert challenges("") == {}


def test_basic_is_tried_once() -> None:
    one = authorization(ME)
    one.challenged('Basic realm="x"', "")
    assert one.header == "Basic " + base64.b64encode(b"me:secret").decode()
    with pytest.raises(Unauthenticated, match="refuses these credentials"):
        one.challenged('Basic realm="x"', "")
    with pytest.raises(Unauthenticated, match="wants credentials"):
        authorization(None).challenged('Basic realm="x"', "")


def test_a_token() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"access_token": "t"})

    one = authorization(ME, answer)
    one.challenged(BEARER, "")
    assert one.header == "Bearer t"
    assert dict(asked[0].url.params) == {"service": "s", "scope": "repository:a:pull"}
    assert asked[0].headers["Authorization"].startswith("Basic ")
    refreshed = authorization(AuthConfig(identity_token="refresh"), answer)
    refreshed.challenged(BEARER, "")
    assert b"refresh_token=refresh" in asked[1].content


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(401),
        httpx.Response(200, content=b"x"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={}),
    ],
)
def test_no_token(answer: httpx.Response) -> None:
    with pytest.raises(Unauthenticated, match="token service"):
        authorization(ME, lambda _: answer).challenged(BEARER, "")


def test_a_password_is_not_sent_in_the_clear() -> None:
    with pytest.raises(Unauthenticated, match="in the clear"):
        authorization(ME).challenged('Bearer realm="http://auth.test/token"', "")


def test_a_token_that_was_given() -> None:
    assert authorization(AuthConfig(registry_token="t")).header == "Bearer t"
