"""Manifests and blobs over HTTP: retries, ranges, mirrors, refusals."""

from collections.abc import Iterator

import httpx
import pytest
from cribus.config import Images, Mirror
from cribus.errors import (
    Aborted,
    CribusError,
    DataLoss,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from cribus.images.reference import parse
from cribus.images.registry import client

from tests.unit.images.world import Body, digest

DATA = b"data" * 1000
NAME = digest(DATA)


class Broken(httpx.SyncByteStream):
    """A body that breaks off."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __iter__(self) -> Iterator[bytes]:
        yield self._data
        raise httpx.ReadError("reset")


class Script:
    """Answers in order; the last one stays."""

    def __init__(self) -> None:
        self.answers: list[httpx.Response | Exception] = []
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    made = Script()
    real = httpx.Client
    monkeypatch.setattr(
        "cribus.images.registry.client.httpx.Client",
        lambda **_: real(transport=httpx.MockTransport(made), follow_redirects=True),
    )
    monkeypatch.setattr(client.Registry, "_pause", lambda self, seconds: None)
    return made


def registry(settings: Images | None = None) -> client.Registry:
    return client.Registry(settings or Images(), parse("registry.test/app:v1"), None)


def blob(settings: Images | None = None) -> bytes:
    return b"".join(registry(settings).blob(NAME, 0, len(DATA)))


def test_a_manifest(script: Script) -> None:
    script.answers = [httpx.Response(200, content=DATA, headers={"Content-Type": "a/b; c"})]
    assert registry().manifest("v1") == (DATA, "a/b", NAME, "https://registry.test")
    assert registry().manifest(NAME).digest == NAME
    assert "oci.image.index" in script.asked[0].headers["Accept"]


@pytest.mark.parametrize(
    ("content", "headers", "wanted"),
    [
        (b"other", {}, NAME),
        (b"other", {"Docker-Content-Digest": NAME}, "v1"),
        (bytes(5 << 20), {}, "v1"),
    ],
)
def test_a_manifest_that_lies(script: Script, content: bytes, headers: dict[str, str], wanted: str) -> None:
    script.answers = [httpx.Response(200, content=content, headers=headers)]
    with pytest.raises(DataLoss):
        registry().manifest(wanted)


def test_what_passes_is_tried_again(script: Script) -> None:
    script.answers = [
        httpx.Response(503),
        httpx.ReadTimeout("slow"),
        httpx.Response(429, headers={"Retry-After": "1"}),
        httpx.Response(200, stream=Broken(b"half")),
        httpx.Response(200, stream=Body(DATA)),
    ]
    assert registry().manifest(NAME).data == DATA


def test_a_blob_is_resumed(script: Script) -> None:
    script.answers = [
        httpx.Response(200, stream=Broken(DATA[:100])),
        httpx.Response(206, stream=Broken(DATA[100:300])),
        httpx.Response(200, stream=Body(DATA)),
    ]
    assert blob() == DATA
    assert [one.headers.get("Range") for one in script.asked] == [None, "bytes=100-", "bytes=300-"]


def test_a_blob_that_ends_early_for_good(script: Script) -> None:
    script.answers = [httpx.Response(206, stream=Body(b"")) for _ in range(5)]
    with pytest.raises(Unavailable, match="5 times"):
        blob()


def test_a_blob_without_end(script: Script) -> None:
    script.answers = [httpx.Response(200, stream=Body(DATA + b"x"))]
    with pytest.raises(DataLoss, match="more than"):
        blob()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(404), NotFound),
        (httpx.Response(403), PermissionDenied),
        (httpx.Response(401), Unauthenticated),
        (httpx.Response(429, headers={"Retry-After": "999"}), ResourceExhausted),
        (httpx.Response(429, headers={"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}), ResourceExhausted),
        (httpx.Response(416), DataLoss),
        (httpx.Response(500), Unavailable),
        (httpx.Response(418), Unavailable),
        (httpx.ConnectError("no route"), Unavailable),
    ],
)
def test_refused(script: Script, answer: httpx.Response | Exception, kind: type[CribusError]) -> None:
    script.answers = [answer]
    with pytest.raises(CribusError) as caught:
        registry().manifest("v1")
    assert isinstance(caught.value, kind)


def test_what_the_registry_says_is_told(script: Script) -> None:
    script.answers = [httpx.Response(403, json={"errors": [{"code": "DENIED", "message": "pay first"}]})]
    with pytest.raises(PermissionDenied, match="pay first"):
        registry().manifest("v1")


def test_a_mirror_first(script: Script) -> None:
    settings = Images(mirrors={"registry.test": Mirror(urls=["http://near.test"])})
    script.answers = [httpx.Response(404), httpx.Response(200, stream=Body(DATA))]
    assert blob(settings) == DATA
    assert [one.url.host for one in script.asked] == ["near.test", "registry.test"]
    assert script.asked[0].url.params["ns"] == "registry.test"


def test_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    one = registry()
    one.stop()
    with pytest.raises(Aborted, match="given up"):
        one._pause(0)
    one.close()
