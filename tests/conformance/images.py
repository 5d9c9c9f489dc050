"""The images that critest pulls by hard-coded names, made from what Debian has and put into a loopback registry.

The suite compares the names it pulls with the names the runtime reports, so the names stay and the runtime
mirrors their hosts (HOSTS) to the registry. One image is missing: a spec wants public bytes by their digest.
"""

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.registry import Entry, Image, Layer, Registry, layer, tar

HOSTS = ("registry.k8s.io", "k8s.gcr.io", "gcr.io")
_E2E, _TOOLS = "e2e-test-images", "k8s-staging-cri-tools"
_PATH = "PATH=/bin:/sbin:/usr/bin:/usr/sbin"

_PASSWD = b"root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
_GROUP = b"root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n"
_FOLDERS = (
    "bin",
    "etc",
    "root",
    "tmp",
    "var",
    "var/run",
    "var/log",
    "var/lib",
    "var/lib/nginx",
    "usr",
    "usr/bin",
    "www",
)

_NGINX = """
daemon off;
user root;
worker_processes 1;
pid /var/run/nginx.pid;
error_log /dev/stderr warn;
events {{ worker_connections 64; }}
http {{
    access_log off;
    server {{ listen {port}; location / {{ return 200 "nginx\\n"; }} }}
}}
"""
_PAUSE = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"
_UID = (
    '#include <stdio.h>\n#include <unistd.h>\nint main(void) { printf("Effective uid: %d\\n", geteuid()); return 0; }\n'
)


def _busybox() -> list[Entry]:
    """busybox under every applet's name but sh. Hard links: over a soft link, hiding /bin/ls would hide busybox."""
    names = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    links = [Entry(f"bin/{name}", link="bin/busybox", mode=0o755) for name in names if name not in ("busybox", "sh")]
    return [Entry("bin/busybox", Path("/bin/busybox").read_bytes(), 0o755), *links]


def _base(passwd: bytes = _PASSWD, group: bytes = _GROUP) -> list[Entry]:
    folders = [Entry(name, folder=True, mode=0o1777 if name == "tmp" else 0o755) for name in _FOLDERS]
    return [*folders, Entry("etc/passwd", passwd), Entry("etc/group", group), *_busybox()]


def _libraries(programs: Iterable[Path]) -> list[Entry]:
    """The shared libraries that these programs of this machine's architecture load, at their own paths."""
    found: set[str] = set()
    for program in programs:
        listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
        found.update(re.findall(r"(/\S+) \(0x", listed))
    folders = sorted({str(parent) for path in found for parent in Path(path).parents if str(parent) != "/"})
    return [
        *(Entry(name.removeprefix("/"), folder=True, mode=0o755) for name in folders),
        *(Entry(path.removeprefix("/"), Path(path).resolve().read_bytes(), 0o755) for path in sorted(found)),
    ]


def _compiled(folder: Path, name: str, source: str) -> bytes:
    (folder / f"{name}.c").write_text(source)
    subprocess.run(["gcc", "-static", "-Os", "-s", "-o", str(folder / name), str(folder / f"{name}.c")], check=True)
    return (folder / name).read_bytes()


def _unpacked(folder: Path, package: str) -> Path:
    """A Debian package's files, without installing it."""
    root = folder / package
    root.mkdir()
    subprocess.run(["apt-get", "download", "-qq", package], cwd=folder, check=True, capture_output=True)
    archive = next(folder.glob(f"{package}_*.deb"))
    subprocess.run(["dpkg-deb", "-x", str(archive), str(root)], check=True)
    return root


class Builder:
    """Makes the images in `folder` and pushes them."""

    def __init__(self, registry: Registry, folder: Path) -> None:
        self.registry, self.folder = registry, folder

    def layer(self, *entries: Entry) -> Layer:
        return layer(self.folder, tar(entries))

    def push(self, repository: str, tags: str, layers: list[Layer], **config: Any) -> None:
        self.registry.push(repository, Image(layers, {"Env": [_PATH], **config}), *tags.split())

    def all(self) -> None:
        # The shell of busybox-static runs applets without looking for their files, so it would run a hidden one.
        shell = _unpacked(self.folder, "busybox") / "bin" / "busybox"
        base = self.layer(*_base(), *_libraries([shell]), Entry("bin/sh", shell.read_bytes(), 0o755))
        self._tools(base)
        self._servers(base)
        self._users(base)
        self._names(base)

    def _tools(self, base: Layer) -> None:
        programs = [Path("/usr/bin/pgrep"), Path("/usr/bin/ipcs")]
        beside = [Entry(str(path).removeprefix("/"), path.read_bytes(), 0o755) for path in programs]
        # Before busybox's applets of the same name, if it has any: /usr/bin comes first.
        self.push(
            f"{_E2E}/busybox",
            "1.29-2",
            [base, self.layer(*_libraries(programs), *beside)],
            Cmd=["sh"],
            Env=["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        )
        setuid = Entry("nnp", _compiled(self.folder, "nnp", _UID), 0o4755)
        self.push(f"{_E2E}/nonewprivs", "1.3", [base, self.layer(setuid)], Entrypoint=["/nnp"])
        pause = Entry("pause", _compiled(self.folder, "pause", _PAUSE), 0o755)
        self.push("pause", "3.9", [self.layer(pause)], Entrypoint=["/pause"])
        self.push("pause", "bench", [self.layer(pause)], Entrypoint=["/pause"], Labels={"of": "the sandboxes"})

    def _servers(self, base: Layer) -> None:
        program = _unpacked(self.folder, "nginx") / "usr" / "sbin" / "nginx"
        common = [*_libraries([program]), Entry("usr/sbin", folder=True, mode=0o755)]
        nginx = self.layer(*common, Entry("usr/sbin/nginx", program.read_bytes(), 0o755))
        for repository, tag, port in (
            (f"{_E2E}/nginx", "1.14-2", 80),
            (f"{_TOOLS}/hostnet-nginx-amd64", "latest", 12003),
        ):
            settings = self.layer(
                Entry("etc/nginx", folder=True, mode=0o755),
                Entry("etc/nginx/nginx.conf", _NGINX.format(port=port).encode()),
            )
            self.push(repository, tag, [base, nginx, settings], Cmd=["nginx", "-c", "/etc/nginx/nginx.conf"])
        page = self.layer(Entry("www", folder=True, mode=0o755), Entry("www/index.html", b"httpd\n"))
        command = ["sh", "-c", "echo httpd serves port 80; exec httpd -f -p 80 -h /www"]
        self.push(f"{_E2E}/httpd", "2.4.39-4", [base, page], Cmd=command)

    def _users(self, base: Layer) -> None:
        users = {
            "user-uid": "1002",
            "user-username": "www-data",
            "user-uid-group": "1003:1004",
            "user-username-group": "www-data:1004",
        }
        for name, user in users.items():
            self.push(f"{_TOOLS}/test-image-{name}", "latest", [base], User=user, Cmd=["sh"])
        passwd = _PASSWD + b"default-user:x:1000:1000::/:/bin/sh\n"
        group = _GROUP + b"default-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n"
        files = self.layer(Entry("etc/passwd", passwd), Entry("etc/group", group))
        self.push(f"{_TOOLS}/test-image-predefined-group", "latest", [base, files], User="1000", Cmd=["sh"])

    def _names(self, base: Layer) -> None:
        """Images that differ in nothing but their names, or not even in these."""
        several = {"1": "latest", "2": "latest", "3": "latest", "latest": "latest", "tags": "1 2 3"}
        for name, tags in several.items():
            self.push(f"{_TOOLS}/test-image-{name}", tags, [base], Labels={"which": name}, Cmd=["sh"])
        for tag in ("test", "all"):
            self.push(f"{_TOOLS}/test-image-tag", tag, [base], Labels={"which": tag}, Cmd=["sh"])
