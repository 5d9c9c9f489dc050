"""A true distribution: Debian by mmdebstrap with servers in it, in several layers, run in containers."""

import io
import os
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Node, until
from tests.registry import Entry, Image, Layer, Registry, layer, tar

SERVERS = ("redis-server", "nginx-light")
_FRESH = 7 * 24 * 3600.0  # seconds
_SITE = b"""
access_log /dev/stdout;
server {
    listen 80;
    root /srv/www;
}
"""


def bootstrapped() -> Path:
    """A small Debian with the servers, as a tar in the tests' cache: half a minute and a mirror are needed."""
    cache = Path(os.environ.get("CRIBUS_TEST_CACHE", "/var/cache/cribus-tests"))
    path = cache / f"bookworm-{'-'.join(SERVERS)}.tar"
    if not path.exists() or time.time() - path.stat().st_mtime > _FRESH:
        cache.mkdir(parents=True, exist_ok=True)
        made = cache / f"{os.getpid()}.tar"
        argv = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(SERVERS)}", "bookworm", str(made)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=150)
        assert not done.returncode, f"{argv}: {done.stderr[-1000:]}"
        made.rename(path)
    return path


def of(archive: tarfile.TarFile, package: str) -> set[str]:
    """The files, not the folders, that only packages of this name have brought."""
    own: set[str] = set()
    others: set[str] = set()
    for name in archive.getnames():
        if name.startswith("./var/lib/dpkg/info/") and name.endswith(".list"):
            listed = archive.extractfile(name)
            assert listed is not None
            lines = listed.read().decode().splitlines()
            (own if package in name else others).update(f".{line}" for line in lines)
    return own - others


def part(archive: tarfile.TarFile, wanted: Callable[[tarfile.TarInfo], bool]) -> bytes:
    """What is wanted of an archive, as an archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as out:
        for member in archive:
            if wanted(member):
                out.addfile(member, archive.extractfile(member) if member.isreg() else None)
    return stream.getvalue()


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Layer]]:
    """The layers: `base`, and over it one for each server."""
    folder = tmp_path_factory.mktemp("debian")
    with tarfile.open(bootstrapped()) as archive:
        files = {package: of(archive, package) for package in ("redis", "nginx")}

        def owner(member: tarfile.TarInfo) -> str:
            owners = [package for package, own in files.items() if member.name in own and not member.isdir()]
            return owners[0] if owners else "base"

        yield {
            name: layer(folder, part(archive, lambda member, name=name: owner(member) == name))  # type: ignore[misc]
            for name in ("base", "redis", "nginx")
        }


def test_redis(clean: Node, registry: Registry, debian: dict[str, Layer], tmp_path: Path) -> None:
    change = tar(
        [
            Entry("usr/share/.wh.doc"),
            Entry("var/lib/apt/lists/.wh..wh..opq"),
            Entry("etc/motd", b"changed\n"),
            Entry("usr/local/bin/ready", symlink="/usr/bin/redis-cli"),
        ]
    )
    layers = [debian["base"], debian["redis"], layer(tmp_path, change)]
    registry.push("redis", Image(layers, {"User": "redis"}), "v1")
    image = f"{registry.host}/redis:v1"
    clean.crictl("pull", image)
    pod = clean.pod("redis")
    server = ("redis-server", "--save", "", "--dir", "/tmp")
    container = clean.container(pod, "redis", *server, image={"image": image})

    def inside(*command: str) -> str:
        return clean.try_crictl("exec", "-s", container, *command).stdout.strip()

    until(lambda: inside("ready", "ping") == "PONG", 10, "redis answers")
    assert inside("ready", "set", "key", "value") == "OK"
    assert inside("ready", "get", "key") == "value"
    assert inside("id", "-un") == "redis"
    assert inside("cat", "/etc/motd") == "changed"
    assert inside("ls", "/var/lib/apt/lists") == ""
    assert inside("stat", "-c", "%a %U", "/tmp", "/etc/shadow", "/var/lib/redis") == "1777 root\n640 root\n750 redis"
    assert inside("sh", "-c", "test -e /usr/share/doc || echo gone") == "gone"
    assert "redis" in inside("dpkg-query", "-f", "${Package}\n", "-W", "redis*")
    clean.crictl("rmp", "-f", pod)
    clean.crictl("rmi", image)


def test_nginx(clean: Node, registry: Registry, debian: dict[str, Layer], tmp_path: Path) -> None:
    """As it is used: the image says what runs and how it is stopped, the pod's network carries its pages."""
    page = os.urandom(300_000)
    change = tar(
        [
            Entry("etc/nginx/sites-enabled/.wh.default"),
            Entry("etc/nginx/conf.d/site.conf", _SITE),
            Entry("srv/www/index.html", b"<h1>from a layer</h1>"),
            Entry("srv/www/large", page),
        ]
    )
    config = {"Cmd": ["nginx", "-g", "daemon off;"], "StopSignal": "SIGQUIT", "ExposedPorts": {"80/tcp": {}}}
    registry.push("nginx", Image([debian["base"], debian["nginx"], layer(tmp_path, change)], config), "v1")
    image = f"{registry.host}/nginx:v1"
    clean.crictl("pull", image)
    assert len(clean.json("inspecti", image)["info"]["imageSpec"]["rootfs"]["diff_ids"]) == 3
    pod = clean.pod("nginx")
    container = clean.container(pod, "nginx", image={"image": image})
    address = clean.json("inspectp", pod)["status"]["network"]["ip"]

    def fetched(path: str) -> bytes:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
            data: bytes = answer.read()
        return data

    def listens() -> bool:
        try:
            return fetched("/") == b"<h1>from a layer</h1>"
        except OSError:  # it does not listen yet
            return False

    until(listens, 10, "nginx answers")
    assert fetched("/large") == page
    until(lambda: "GET /large" in clean.crictl("logs", container), 10, "the request is in the log")
    clean.crictl("stop", "-t", "10", container)
    assert clean.status(container)["exitCode"] == 0
    clean.crictl("rmp", "-f", pod)
    clean.crictl("rmi", image)
