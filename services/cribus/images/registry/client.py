"""Fetching manifests and blobs, from threads: one client a pull, kept connections, retries with reason.

Source: distribution-spec 1.1, "Pull".
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import NamedTuple, TypeVar

import httpx

from cribus.api.cri.image import AuthConfig
from cribus.config import Images
from cribus.errors import CribusError, DataLoss, NotFound, PermissionDenied, ResourceExhausted, Unavailable
from cribus.images.content import digest_of
from cribus.images.reference import Reference
from cribus.images.registry.auth import Authorization
from cribus.images.registry.mirrors import endpoints

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_ACCEPT = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))
_MANIFEST_LIMIT = 4 << 20  # bytes, as distribution-spec asks registries to allow
_TRIES = 5
_RETRIED = (408, 425, 429, 500, 502, 503, 504)
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_CHUNK = 256 << 10
T = TypeVar("T")
_logger = logging.getLogger(__name__)


class Manifest(NamedTuple):
    data: bytes
    media_type: str
    digest: str


class Registry:
    """One repository, at the first endpoint that has what is wanted. Close it after use."""

    def __init__(self, settings: Images, reference: Reference, auth: AuthConfig | None) -> None:
        self._reference = reference
        self._bases = endpoints(settings, reference.host)
        self._http = httpx.Client(timeout=_TIMEOUT, follow_redirects=True, trust_env=True)
        self._auth = {base: Authorization(auth, self._http.get) for base in self._bases}
        self._stop = threading.Event()  # set to end waits between tries

    def close(self) -> None:
        self._stop.set()
        self._http.close()

    def manifest(self, wanted: str) -> Manifest:
        """A manifest or index by tag or digest. Raises NotFound, DataLoss, PermissionDenied, Unavailable, …"""
        return self._anywhere(lambda base: self._manifest(base, wanted))

    def _manifest(self, base: str, wanted: str) -> Manifest:
        url = f"{base}/v2/{self._reference.repository}/manifests/{wanted}"
        with closing(self._opened(base, url, {"Accept": _ACCEPT})) as answer:
            data = b""
            for chunk in answer.iter_bytes():
                data += chunk
                if len(data) > _MANIFEST_LIMIT:
                    raise DataLoss(f"the manifest of {self._reference} is larger than {_MANIFEST_LIMIT} bytes")
            kind = answer.headers.get("Content-Type", "").split(";")[0].strip()
        digest = digest_of(data)
        if wanted.startswith("sha256:") and digest != wanted:
            raise DataLoss(f"the registry sent a manifest of digest {digest} for {wanted}; it lies or is broken")
        return Manifest(data, kind, digest)

    def blob(self, digest: str, offset: int) -> Iterator[bytes]:
        """A blob's bytes from `offset` on, resumed by range where a connection breaks."""
        failures = 0
        while True:
            try:
                for chunk in self._anywhere_blob(digest, offset):
                    offset += len(chunk)
                    failures = 0
                    yield chunk
                return
            except httpx.TransportError as error:
                failures += 1
                if failures >= _TRIES:
                    raise Unavailable(f"fetching {digest} broke off {failures} times in a row: {error}") from error
                _logger.warning(
                    "blob broke off, resuming", extra={"digest": digest, "offset": offset, "cause": str(error)}
                )
                self._stop.wait(0.1 * 2**failures)

    def _anywhere_blob(self, digest: str, offset: int) -> Iterator[bytes]:
        answer = self._anywhere(lambda base: self._blob_from(base, digest, offset))
        try:
            skip = offset if answer.status_code == 200 else 0  # a server without ranges sends everything again
            expected = answer.headers.get("Content-Length")
            received = 0
            for chunk in answer.iter_raw(_CHUNK):
                received += len(chunk)
                if skip >= len(chunk):
                    skip -= len(chunk)
                    continue
                yield chunk[skip:]
                skip = 0
            if expected is not None and received < int(expected):
                raise httpx.ReadError(f"{received} of {expected} bytes came")
        finally:
            answer.close()

    def _blob_from(self, base: str, digest: str, offset: int) -> httpx.Response:
        url = f"{base}/v2/{self._reference.repository}/blobs/{digest}"
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        return self._opened(base, url, headers)

    def _anywhere(self, ask: Callable[[str], T]) -> T:
        """The first endpoint's answer; of several failures the last one is told."""
        failure: CribusError = Unavailable(f"no endpoint is configured for {self._reference.host}")
        for base in self._bases:
            try:
                return ask(base)
            except httpx.TransportError as error:
                failure = Unavailable(f"{base} does not answer for {self._reference}: {error}")
            except CribusError as error:
                failure = error
        raise failure

    def _opened(self, base: str, url: str, headers: dict[str, str]) -> httpx.Response:
        """A streaming answer of status 200 or 206; retried where the registry asks for it."""
        tries = 0
        while True:
            tries += 1
            auth = self._auth[base]
            wanted = {**headers, **({"Authorization": auth.header} if auth.header else {})}
            answer = self._http.send(self._http.build_request("GET", url, headers=wanted), stream=True)
            if answer.status_code in (200, 206):
                return answer
            answer.close()
            if answer.status_code == 401 and tries < 3:
                auth.challenged(
                    answer.headers.get("WWW-Authenticate", ""), f"repository:{self._reference.repository}:pull"
                )
            elif answer.status_code in _RETRIED and tries < _TRIES:
                self._stop.wait(_delay(answer, tries))
            else:
                raise self._refused(answer)

    def _refused(self, answer: httpx.Response) -> CribusError:
        status = answer.status_code
        where = f"{answer.request.url.host} answers {status} for {self._reference}"
        if status == 404:
            return NotFound(f"{where}: there is no such image; check its name and tag")
        if status in (401, 403):
            return PermissionDenied(f"{where}: access is denied; check the credentials")
        if status == 429:
            return ResourceExhausted(f"{where}: too many requests; try later or log in")
        if status == 416:
            return DataLoss(f"{where}: the blob is shorter than what was already fetched")
        return Unavailable(f"{where}; try later")


def _delay(answer: httpx.Response, tries: int) -> float:
    """Seconds to wait: what the registry says, at most 30, else twice as long each time."""
    told = answer.headers.get("Retry-After", "")
    return min(float(told), 30.0) if told.isdigit() else 0.1 * float(2**tries)
