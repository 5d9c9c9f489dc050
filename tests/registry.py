"""A registry on loopback (Debian's docker-registry) and images made by hand to put into it.

What an image holds is the caller's business: here a layer is a finished file, named by its digests.
"""

import gzip
import hashlib
import http.client
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.harness import free_port, until

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
PLAIN = "application/vnd.oci.image.layer.v1.tar"
_DOCKER = {
    _MANIFEST: "application/vnd.docker.distribution.manifest.v2+json",
    _INDEX: "application/vnd.docker.distribution.manifest.list.v2+json",
    _CONFIG: "application/vnd.docker.container.image.v1+json",
    GZIP: "application/vnd.docker.image.rootfs.diff.tar.gzip",
}


@dataclass(frozen=True)
class Layer:
    """A packed tar on disk; `diff_id` is the digest of the tar inside."""

    path: Path
    digest: str
    diff_id: str
    kind: str = GZIP


@dataclass
class Entry:
    """One thing in a layer. `link` makes it a hard link to that path, `symlink` a soft one."""

    name: str
    data: bytes = b""
    mode: int = 0o644
    link: str = ""
    symlink: str = ""
    folder: bool = False


@dataclass
class Image:
    """`config` is the image configuration's inner `config` object, with capital names."""

    layers: list[Layer]
    config: dict[str, Any] = field(default_factory=dict)
    docker: bool = False  # docker's media types instead of OCI's

    def kind(self, oci: str) -> str:
        return _DOCKER[oci] if self.docker else oci


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _member(entry: Entry) -> tarfile.TarInfo:
    info = tarfile.TarInfo(entry.name)
    info.mode, info.size = entry.mode, len(entry.data)
    if entry.link:
        info.type, info.linkname = tarfile.LNKTYPE, entry.link
    elif entry.symlink:
        info.type, info.linkname = tarfile.SYMTYPE, entry.symlink
    elif entry.folder:
        info.type, info.mode = tarfile.DIRTYPE, entry.mode | 0o111
    return info


def tar(entries: Iterable[Entry], *, end: bool = True) -> bytes:
    """The entries as a tar; without `end` another tar may follow it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            archive.addfile(_member(entry), io.BytesIO(entry.data) if entry.data else None)
        size = archive.offset
    return stream.getvalue() if end else stream.getvalue()[:size]


def layer(folder: Path, plain: bytes) -> Layer:
    """`plain` (a tar) packed into a file of `folder`, named by its digest."""
    packed = gzip.compress(plain, compresslevel=6, mtime=0)
    return store(folder, packed, digest(plain))


def store(folder: Path, packed: bytes, diff_id: str, kind: str = GZIP) -> Layer:
    name = digest(packed)
    path = folder / name.removeprefix("sha256:")
    path.write_bytes(packed)
    return Layer(path, name, diff_id, kind)


def architecture() -> str:
    """This machine's, in the words of images."""
    return "arm64" if os.uname().machine == "aarch64" else "amd64"


class Registry:
    """`host` is what stands before the first slash of its images' names."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"

    def push(self, repository: str, image: Image, *tags: str) -> str:
        """Put an image in under these tags; returns the manifest's digest."""
        history = [{"created_by": "tests"} for _ in image.layers]
        config = json.dumps(
            {
                "created": "2026-01-01T00:00:00Z",
                "architecture": architecture(),
                "os": "linux",
                "config": image.config,
                "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in image.layers]},
                "history": history,
            }
        ).encode()
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": image.kind(_MANIFEST),
                "config": {"mediaType": image.kind(_CONFIG), "digest": digest(config), "size": len(config)},
                "layers": [
                    {"mediaType": image.kind(one.kind), "digest": one.digest, "size": one.path.stat().st_size}
                    for one in image.layers
                ],
            }
        ).encode()
        for one in image.layers:
            self._blob(repository, one.digest, one.path.read_bytes())
        self._blob(repository, digest(config), config)
        return self._manifest(repository, manifest, image.kind(_MANIFEST), tags)

    def push_index(self, repository: str, manifests: dict[str, str], tag: str, *, docker: bool = False) -> str:
        """An index of manifests that are there already, by architecture; returns its digest."""
        kind = _DOCKER if docker else {one: one for one in _DOCKER}
        described = [
            {
                "mediaType": kind[_MANIFEST],
                "digest": name,
                "size": int(self._head(repository, name)),
                "platform": {"os": "linux", "architecture": machine},
            }
            for machine, name in manifests.items()
        ]
        index = {"schemaVersion": 2, "mediaType": kind[_INDEX], "manifests": described}
        return self._manifest(repository, json.dumps(index).encode(), kind[_INDEX], (tag,))

    def _manifest(self, repository: str, data: bytes, kind: str, tags: tuple[str, ...]) -> str:
        for name in (digest(data), *tags):
            self._ask("PUT", f"/v2/{repository}/manifests/{name}", data, 201, kind=kind)
        return digest(data)

    def _head(self, repository: str, name: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        kinds = ", ".join((_MANIFEST, _DOCKER[_MANIFEST]))
        connection.request("HEAD", f"/v2/{repository}/manifests/{name}", headers={"Accept": kinds})
        length = connection.getresponse().getheader("Content-Length")
        connection.close()
        assert length
        return length

    def _blob(self, repository: str, name: str, data: bytes) -> None:
        place = self._ask("POST", f"/v2/{repository}/blobs/uploads/", b"", 202)
        joint = "&" if "?" in place else "?"
        self._ask("PUT", f"{place}{joint}digest={name}", data, 201)

    def _ask(self, method: str, path: str, body: bytes, expected: int, kind: str = "application/octet-stream") -> str:
        """One request; returns the answer's Location without the host."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        connection.close()
        assert answer.status == expected, f"{method} {path}: {answer.status} {text}"
        return (answer.getheader("Location") or "").removeprefix(f"http://{self.host}")

    def ready(self) -> bool:
        try:
            self._ask("GET", "/v2/", b"", 200)
        except ConnectionError:
            return False
        return True


@contextmanager
def serve(base: Path) -> Iterator[Registry]:
    """A registry that runs while inside; its images lie below `base` and stay."""
    registry = Registry(base)
    base.mkdir(parents=True, exist_ok=True)
    settings = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(base / "data")}, "delete": {"enabled": True}},
        "http": {"addr": registry.host},
    }
    (base / "config.yml").write_text(json.dumps(settings))  # JSON is YAML
    with (base / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(base / "config.yml")],
            stdout=log,
            stderr=log,
            env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
        )
    try:
        until(registry.ready, 10, "the registry answers")
        yield registry
    finally:
        process.terminate()
        process.wait(10)
