"""A true distribution: Debian by mmdebstrap with a server in it, changed by a second layer, run in a container."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.harness import Node, until
from tests.registry import Entry, Image, Registry, layer, tar

pytestmark = pytest.mark.skipif(not shutil.which("mmdebstrap"), reason="mmdebstrap is not installed")


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small Debian with redis, as a tar: half a minute and a mirror are needed."""
    path = tmp_path_factory.mktemp("debian") / "root.tar"
    argv = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=redis-server", "bookworm", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100)
    if done.returncode:
        pytest.skip(f"no Debian to be had here: {done.stderr[-300:]}")
    return path.read_bytes()


def test_redis(clean: Node, registry: Registry, debian: bytes, tmp_path: Path) -> None:
    change = tar(
        [
            Entry("usr/share/.wh.doc"),
            Entry("var/lib/apt/lists/.wh..wh..opq"),
            Entry("etc/motd", b"changed\n"),
            Entry("usr/local/bin/ready", symlink="/usr/bin/redis-cli"),
        ]
    )
    registry.push("redis", Image([layer(tmp_path, debian), layer(tmp_path, change)], {"User": "redis"}), "v1")
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
