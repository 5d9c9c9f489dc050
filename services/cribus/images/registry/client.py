"""Fetching manifests and blobs, from threads: one client a pull, kept connections, retries with reason.

Source: distribution-spec 1.1, "Pull".
"""

import email.utils
import functools
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import NamedTuple, TypeVar

import httpx

from cribus.api.cri.image import AuthConfig
from cribus.config import Images
from cribus.errors import Aborted, CribusError, DataLoss, NotFound, PermissionDenied, ResourceExhausted, Unavailable
from cribus.images.content import digest_of
from cribus.images.reference import Reference
from cribus.images.registry.auth import Authorization, meant_for
from cribus.images.registry.mirrors import Endpoint, endpoints
from cribus.images.shortage import behind, explained
from cribus.oci import distribution_spec, image_spec

_ACCEPT = ", ".join((*image_spec.MANIFESTS, *image_spec.INDEXES))
_TRIES = 5
_RETRIED = (408, 425, 429, 500, 502, 503, 504)
_PATIENCE = 60.0  # seconds that a registry may ask us to wait
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_DIRECT = {f"all://{host}": None for host in ("localhost", "127.0.0.1", "[::1]")}  # whatever proxy is set
T = TypeVar("T")
_logger = logging.getLogger(__name__)


class Broken(Unavailable):
    """An answer began, and broke off: asking again may help at once."""


class Manifest(NamedTuple):
    data: bytes
    media_type: str
    digest: str
    source: str = ""  # URL of the registry or mirror that gave it


@functools.lru_cache(maxsize=1)
def _trust() -> ssl.SSLContext:
    """The host's certificates, loaded once: httpx's own list knows no company's."""
    return ssl.create_default_context()


class Registry:
    """One repository, at the first endpoint that has what is wanted. Close it after use."""

    def __init__(self, settings: Images, reference: Reference, auth: AuthConfig | None) -> None:
        self._reference = reference
        self._endpoints = endpoints(settings, reference.host)
        self._http = httpx.Client(timeout=_TIMEOUT, follow_redirects=True, verify=_trust(), mounts=_DIRECT)
        config = meant_for(auth, reference.host)
        self._auth = {one: Authorization(config, self._http, one) for one in self._endpoints}
        self._stop = threading.Event()  # set to end waits between tries

    def stop(self) -> None:
        """End every fetch at its next chunk."""
        self._stop.set()

    def close(self) -> None:
        self._stop.set()
        self._http.close()

    def manifest(self, wanted: str) -> Manifest:
        """A manifest or index by tag or digest. Raises NotFound, DataLoss, PermissionDenied, Unavailable, …"""
        for number in range(1, _TRIES):
            try:
                return self._anywhere(lambda endpoint: self._manifest(endpoint, wanted))
            except Broken:
                self._pause(0.1 * 2**number)
        return self._anywhere(lambda endpoint: self._manifest(endpoint, wanted))

    def _manifest(self, endpoint: Endpoint, wanted: str) -> Manifest:
        path = distribution_spec.manifest(self._reference.repository, wanted)
        data = b""
        with closing(self._opened(endpoint, path, {"Accept": _ACCEPT})) as answer:
            for chunk in _whole(answer):
                data += chunk
                if len(data) > distribution_spec.MANIFEST_LIMIT:
                    raise DataLoss(f"the manifest of {self._reference} is larger than any may be")
            kind = answer.headers.get("Content-Type", "").split(";")[0].strip()
            told = answer.headers.get("Docker-Content-Digest", "")
        digest = digest_of(data)
        promised = wanted if wanted.startswith("sha256:") else told
        if promised.startswith("sha256:") and digest != promised:
            raise DataLoss(f"the registry sent a manifest of digest {digest} for {promised}; it lies or is broken")
        return Manifest(data, kind, digest, endpoint.base)

    def blob(self, digest: str, offset: int, size: int = 0) -> Iterator[bytes]:
        """A blob's bytes from `offset` on, resumed by range where a connection breaks.

        `size`, when it is known, tells an end from a break, and ends what goes on too long.
        """
        failures = 0
        while True:
            try:
                for chunk in self._anywhere(functools.partial(self._blob_from, digest, offset)):
                    self._pause(0)
                    offset += len(chunk)
                    failures = 0
                    yield chunk
                    if size and offset > size:
                        raise DataLoss(f"the registry sends more than the {size} bytes of {digest}")
                if offset >= size:
                    return
                raise httpx.ReadError(f"the answer ended after {offset} of {size} bytes")
            except httpx.TransportError as error:
                failures += 1
                if failures >= _TRIES:
                    raise Unavailable(f"fetching {digest} broke off {failures} times in a row: {error}") from error
                extra = {"digest": digest, "offset": offset, "cause": repr(error)}
                _logger.warning("a blob broke off, it is resumed", extra=extra)
                self._pause(0.1 * 2**failures)

    def _blob_from(self, digest: str, offset: int, endpoint: Endpoint) -> Iterator[bytes]:
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        answer = self._opened(endpoint, distribution_spec.blob(self._reference.repository, digest), headers)
        skip = offset if answer.status_code == 200 else 0  # a server without ranges sends everything again
        return _body(answer, skip)

    def _anywhere(self, ask: Callable[[Endpoint], T]) -> T:
        """The first endpoint's answer. Of several failures the last is told, but that of a mirror, which
        may hold only a part, never hides the registry's own."""
        failure: CribusError = Unavailable(f"no endpoint is configured for {self._reference.host}")
        for endpoint in self._endpoints:
            try:
                return ask(endpoint)
            except httpx.TransportError as error:
                short = behind(error)
                if short is not None:
                    raise explained(short, f"{endpoint.base} cannot be asked for {self._reference}") from error
                failure = Unavailable(f"{endpoint.base} does not answer for {self._reference}: {error}")
            except CribusError as error:
                failure = error
            if endpoint != self._endpoints[-1]:
                _logger.warning("an endpoint fails", extra={"endpoint": endpoint.base, "cause": failure.message})
        raise failure

    def _opened(self, endpoint: Endpoint, path: str, headers: dict[str, str]) -> httpx.Response:
        """A streaming answer of status 200 or 206; retried where that makes sense."""
        auth = self._auth[endpoint]
        scope = f"repository:{self._reference.repository}:pull"
        refusals = tries = 0
        while True:
            tries += 1
            try:
                answer = self._sent(endpoint, path, {**headers, **_authorization(auth)})
                if answer.status_code in (200, 206):
                    return answer
                if answer.status_code == 401 and refusals < 2:
                    answer.close()
                    refusals += 1
                    auth.challenged(answer.headers.get("WWW-Authenticate", ""), scope)
                    continue
            except httpx.TransportError as error:
                if tries >= (2 if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) else _TRIES):
                    raise
                self._pause(0.1 * 2**tries)
                continue
            wait = _delay(answer, tries)
            if answer.status_code not in _RETRIED or tries >= _TRIES or wait > _PATIENCE:
                raise self._refused(answer, wait)
            answer.close()
            self._pause(wait)

    def _sent(self, endpoint: Endpoint, path: str, headers: dict[str, str]) -> httpx.Response:
        query = {"ns": endpoint.namespace} if endpoint.namespace else None
        request = self._http.build_request("GET", endpoint.base + path, headers=headers, params=query)
        return self._http.send(request, stream=True)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds) if seconds else self._stop.is_set():
            raise Aborted(f"the pull of {self._reference} was given up")

    def _refused(self, answer: httpx.Response, wait: float) -> CribusError:
        status, said = answer.status_code, _said(answer)
        where = f"{answer.request.url.host} answers {status} for {self._reference}{said}"
        if status == 404:
            return NotFound(f"{where}: there is no such image; check its name and tag")
        if status in (401, 403):
            return PermissionDenied(f"{where}: access is denied; check the credentials")
        if status == 429:
            return ResourceExhausted(f"{where}: too many requests; try again in {wait:.0f} s, or log in")
        if status == 416:
            return DataLoss(f"{where}: the blob is shorter than what was already fetched")
        return Unavailable(f"{where}; try later")


def _authorization(auth: Authorization) -> dict[str, str]:
    return {"Authorization": auth.header} if auth.header else {}


def _body(answer: httpx.Response, skip: int) -> Iterator[bytes]:
    """The raw bytes behind the first `skip` ones."""
    with closing(answer):
        for chunk in answer.iter_raw():
            if skip < len(chunk):
                yield chunk[skip:] if skip else chunk
                skip = 0
            else:
                skip -= len(chunk)


def _whole(answer: httpx.Response) -> Iterator[bytes]:
    """An answer's body. Raises Broken."""
    try:
        yield from answer.iter_bytes()
    except httpx.TransportError as error:
        raise Broken(f"{answer.request.url.host} broke off in the middle of an answer: {error}") from error


def _said(answer: httpx.Response) -> str:
    """What the registry says about its refusal, in brackets; empty when that is nothing to read."""
    with closing(answer):
        try:
            body: distribution_spec.Errors = httpx.Response(200, content=next(answer.iter_bytes(4096), b"")).json()
            told = "; ".join(str(one.get("message") or one.get("code") or "") for one in body["errors"])
        except (ValueError, TypeError, KeyError, AttributeError, httpx.HTTPError):
            return ""
    return f" ({told[:200]})" if told else ""


def _delay(answer: httpx.Response, tries: int) -> float:
    """Seconds to wait: what the registry says, else twice as long each time."""
    told = answer.headers.get("Retry-After", "")
    if told.isdigit():
        return float(told)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(told).timestamp() - time.time())
    except ValueError:
        return 0.1 * float(2**tries)
