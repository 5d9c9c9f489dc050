"""The image-spec's documents (OCI image-spec 1.1) as types for the checker alone, and the media types.

The documents stay the JSON they are. Docker's manifest v2 schema 2 has the same shape under other media
types, so one set of types serves both.
"""

from typing import TypedDict

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = f"{LAYER}+gzip"
LAYER_ZSTD = f"{LAYER}+zstd"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"

INDEXES = (INDEX, DOCKER_LIST)
MANIFESTS = (MANIFEST, DOCKER_MANIFEST)
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'  # the file oci-layout
REF_NAME = "org.opencontainers.image.ref.name"  # annotation: a tag, or a whole name
CONTAINERD_NAME = "io.containerd.image.name"  # annotation: a whole name


class Platform(TypedDict, total=False):
    architecture: str
    os: str
    variant: str


class Descriptor(TypedDict, total=False):
    mediaType: str
    digest: str
    size: int
    urls: list[str]
    annotations: dict[str, str]
    platform: Platform


class Index(TypedDict, total=False):
    schemaVersion: int
    mediaType: str
    manifests: list[Descriptor]


class Manifest(TypedDict, total=False):
    schemaVersion: int
    mediaType: str
    config: Descriptor
    layers: list[Descriptor]


class RootFs(TypedDict, total=False):
    type: str
    diff_ids: list[str]


class Execution(TypedDict, total=False):
    """The config's inner `config`: how a container of this image runs."""

    User: str
    Env: list[str]
    Entrypoint: list[str]
    Cmd: list[str]
    WorkingDir: str
    Volumes: dict[str, dict[str, str]]
    ExposedPorts: dict[str, dict[str, str]]
    Labels: dict[str, str]
    StopSignal: str


class Config(TypedDict, total=False):
    architecture: str
    os: str
    config: Execution
    rootfs: RootFs
