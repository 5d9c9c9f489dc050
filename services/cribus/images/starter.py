"""The first image: Debian's busybox-static under every applet's name, so that a node's first run
needs no registry."""

import gzip
import io
import json
import os
import subprocess
import tarfile
from typing import Any, NamedTuple

from cribus.errors import FailedPrecondition
from cribus.images.archive import add_file
from cribus.images.content import digest_of

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_FOLDERS = ("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "usr/bin", "var", "var/run", "home")
_FILES = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var:/bin/false\n"
    b"nobody:x:65534:65534::/:/bin/false\n",
    "etc/group": b"root:x:0:\ntty:x:5:\nwww-data:x:33:\nnogroup:x:65534:\n",
}


def build(path: str, busybox: str = "/bin/busybox", reference: str = "localhost/busybox:latest") -> None:
    """Write an OCI layout tar with a busybox image. Raises FailedPrecondition without busybox-static."""
    write_layout(path, [pack(of_host(busybox))], {"Cmd": ["sh"], "Env": ["PATH=/usr/bin:/bin"]}, reference)


def of_host(busybox: str) -> bytes:
    """A layer with this busybox. Raises FailedPrecondition where it does not run."""
    try:
        with open(busybox, "rb") as file:
            program = file.read()
        applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError) as error:
        raise FailedPrecondition(f"{busybox} does not run; `apt-get install busybox-static` brings it") from error
    return layer(program, applets)


def layer(program: bytes, applets: list[str]) -> bytes:
    """The plain tar: busybox once, its applets as hard links to it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in _FOLDERS:
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(info)
        info = tarfile.TarInfo("bin/busybox")
        info.size, info.mode = len(program), 0o755
        tar.addfile(info, io.BytesIO(program))
        for applet in applets:
            info = tarfile.TarInfo(f"bin/{applet}")
            info.type, info.linkname = tarfile.LNKTYPE, "bin/busybox"
            info.mode = 0o755  # others take a link's mode for its file's
            if applet != "busybox":
                tar.addfile(info)
        for name, data in _FILES.items():
            add_file(tar, name, data)
    return buffer.getvalue()


class Packed(NamedTuple):
    """A layer as it travels, by the digest of the plain tar and its own."""

    diff_id: str
    digest: str
    data: bytes


class Image(NamedTuple):
    """`blobs` by digest; the ids of an image are the digest of its config, and that of its manifest."""

    id: str
    manifest: str
    blobs: dict[str, bytes]


def pack(plain: bytes) -> Packed:
    """A plain tar as a layer."""
    data = gzip.compress(plain, 6, mtime=0)
    return Packed(digest_of(plain), digest_of(data), data)


def image(layers: list[Packed], config: dict[str, Any]) -> Image:
    """An image of these layers, bottom first, for this machine."""
    blobs = {one.digest: one.data for one in layers}
    described = [{"mediaType": _LAYER, "digest": one.digest, "size": len(one.data)} for one in layers]
    machine = _MACHINES.get(os.uname().machine, "amd64")
    document = {
        "architecture": machine,
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]},
    }
    body = json.dumps(document).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest_of(body),
            "size": len(body),
        },
        "layers": described,
    }
    text = json.dumps(manifest).encode()
    blobs |= {digest_of(body): body, digest_of(text): text}
    return Image(digest_of(body), digest_of(text), blobs)


def write_layout(path: str, layers: list[Packed], config: dict[str, Any], reference: str) -> None:
    """An image of these layers as an OCI layout in a tar file."""
    made = image(layers, config)
    annotations = {"io.containerd.image.name": reference}
    size = len(made.blobs[made.manifest])
    top = {"mediaType": MANIFEST, "digest": made.manifest, "size": size, "annotations": annotations}
    with tarfile.open(path, "w") as tar:
        for digest, data in made.blobs.items():
            add_file(tar, f"blobs/{digest.replace(':', '/')}", data)
        add_file(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        add_file(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": [top]}).encode())
