"""A real node for tests: every process of it, in folders, a cgroup, a bridge and a table of its own.

Nothing here knows how the node works inside: it is started and stopped by the `cribus` command,
asked through crictl, and killed by pid.
"""

import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PYTHON = sys.executable
CRICTL = os.environ.get("CRICTL") or shutil.which("crictl") or "crictl"
IMAGE = "localhost/busybox:latest"
_NODES = itertools.count()
SERVICES = ("nats", "images", "executor", "shimd", "manager", "gateway")

_RECORDS = """
import asyncio, json
from cribus import config
from cribus.bus import service

async def main():
    async with service.connect(config.load(), "manager") as bus:
        known = await bus.kv.load_all()
        print(json.dumps({key: json.loads(value).get("state", "") for key, value in known.items()}))

asyncio.run(main())
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def until(check: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true value of `check`, asked again as fast as it answers; fails after so long."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        signal.sigtimedwait([], 0.01)


def run(*argv: str, env: dict[str, str] | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=timeout, env=env, stdin=subprocess.DEVNULL)


class Node:
    """One node. `tag` is in every name that it leaves on the machine."""

    def __init__(self, base: Path, extra: str = "") -> None:
        number = next(_NODES)
        self.tag = f"crb{os.getpid() % 100000}{number % 256:02x}"  # no two of one process the same
        self.base = base
        self.run_dir = Path(f"/run/{self.tag}")
        self.root = Path(f"/var/tmp/{self.tag}")
        self.config = base / "config.toml"
        self.socket = self.run_dir / "cribus.sock"
        self.nri = self.run_dir / "nri" / "nri.sock"
        self.logs = base / "pods"
        self.logs.mkdir()
        second = (os.getpid() + number) % 80 + 20  # below those of test_network; two nodes must not share one
        self.config.write_text(
            f'node = "{self.tag}"\nroot = "{self.root}"\nrun = "{self.run_dir}"\n'
            f'[bus]\nlisten = "127.0.0.1:{free_port()}"\n'
            f'[cgroups]\nroot = "{self.tag}"\n'
            f'[network]\nconf_dir = "{base}/cni"\nbridge = "{self.tag}"\nsubnet = "10.{second}.0.0/16"\n'
            f'table = "{self.tag}"\n[nri]\nsocket = "{self.nri}"\n'
            f'plugins = "{self.nri.parent}/plugins"\nplugin_configs = "{self.nri.parent}/conf.d"\n{extra}'
        )
        self.env = {**os.environ, "CRIBUS_CONFIG": str(self.config)}

    def cribus(self, *args: str, timeout: float = 60, check: bool = True) -> str:
        done = run(PYTHON, "-m", "cribus.cli", *args, env=self.env, timeout=timeout)
        assert not check or done.returncode == 0, f"cribus {args}: {done.stdout}{done.stderr}"
        return done.stdout

    def up(self) -> None:
        self.cribus("up")

    def down(self) -> None:
        try:
            self.cribus("down", "--pods", timeout=90)
        finally:
            self.assert_gone()
            self.delete_files()

    def assert_gone(self) -> None:
        """A node that was taken down with its pods left nothing on the host but its files."""
        links = [one for one in Path("/sys/class/net").iterdir() if one.name == self.tag]
        cgroups = list(Path("/sys/fs/cgroup").glob(f"*/{self.tag}"))
        tables = [line for line in run("nft", "list", "tables").stdout.splitlines() if line.endswith(f" {self.tag}")]
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if self.tag in line]
        assert [links, cgroups, tables, mounts] == [[], [], [], []]

    def delete_files(self) -> None:
        for folder in (self.run_dir, self.root):
            shutil.rmtree(folder, ignore_errors=True)

    def argv(self, *args: str) -> list[str]:
        """crictl's command line."""
        endpoint = f"unix://{self.socket}"
        return [CRICTL, "-r", endpoint, "-i", endpoint, "-t", "30s", *args]

    def try_crictl(self, *args: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return run(*self.argv(*args), timeout=timeout)

    def crictl(self, *args: str, timeout: float = 60) -> str:
        """What crictl prints; fails unless it succeeds."""
        done = self.try_crictl(*args, timeout=timeout)
        assert done.returncode == 0, f"crictl {' '.join(args)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def json(self, *args: str) -> Any:
        return json.loads(self.crictl(*args))

    def services(self) -> dict[str, int]:
        """The pid of each service, as the supervisor sees it."""
        return {one["name"]: one["pid"] for one in json.loads(self.cribus("status", "--json"))["services"]}

    def pod_config(self, name: str, **more: Any) -> Path:
        path = self.base / f"{name}-pod.json"
        config: dict[str, Any] = {
            "metadata": {"name": name, "uid": f"uid-{name}", "namespace": "default", "attempt": 0},
            "log_directory": str(self.logs / name),
            "linux": {},
            **more,
        }
        (self.logs / name).mkdir(exist_ok=True)
        path.write_text(json.dumps(config))
        return path

    def container_config(self, name: str, *command: str, **more: Any) -> Path:
        path = self.base / f"{name}-container.json"
        config: dict[str, Any] = {
            "metadata": {"name": name, "attempt": 0},
            "image": {"image": IMAGE},
            "command": list(command),
            "log_path": f"{name}.log",
            "linux": {},
            **more,
        }
        path.write_text(json.dumps(config))
        return path

    def pod(self, name: str, **more: Any) -> str:
        return self.crictl("runp", str(self.pod_config(name, **more)))

    def container(self, pod: str, name: str, *command: str, **more: Any) -> str:
        """A started container of the pod named `name` too (its configuration must exist)."""
        pod_name = self.json("inspectp", pod)["status"]["metadata"]["name"]
        config = self.container_config(name, *command, **more)
        container = self.crictl("create", pod, str(config), str(self.base / f"{pod_name}-pod.json"))
        self.crictl("start", container)
        return container

    def status(self, container: str) -> dict[str, Any]:
        found: dict[str, Any] = self.json("inspect", container)["status"]
        return found

    def exited(self, container: str, seconds: float = 15) -> dict[str, Any]:
        """The container's status once it has exited."""
        found: dict[str, Any] = until(
            lambda: (lambda s: s if s["state"] == "CONTAINER_EXITED" else None)(self.status(container)),
            seconds,
            f"{container} exits",
        )
        return found

    def log_lines(self, container: str) -> list[str]:
        """The container's output as its log has it: full lines, parts joined."""
        text = Path(self.status(container)["logPath"]).read_text()
        lines: list[str] = []
        part = ""
        for line in text.splitlines():
            found = re.fullmatch(r"\S+ (stdout|stderr) ([FP]) (.*)", line)
            assert found, f"no CRI log line: {line!r}"
            part += found[3]
            if found[2] == "F":
                lines.append(part)
                part = ""
        return lines

    def shim(self, pod: str) -> int:
        return self._holder(self.run_dir / "pods" / pod / "shim.sock")

    def keeper(self, container: str) -> int:
        return int(json.loads((self.run_dir / "containers" / container / "state.json").read_text())["keeper"])

    def holder(self, container: str) -> int:
        """Who keeps the container's descriptors now. Raises OSError when nobody does."""
        return self._holder(self.run_dir / "containers" / container / "keeper.sock")

    def _holder(self, path: Path) -> int:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                client.connect(f"/proc/self/fd/{folder}/{path.name}")
            finally:
                os.close(folder)
            credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            return int.from_bytes(credentials[:4], sys.byteorder)

    def remains(self) -> dict[str, list[str]]:
        """Everything on the machine that carries this node's name and belongs to pods."""
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if self.tag in line]
        cgroups = [
            str(path)
            for hierarchy in Path("/sys/fs/cgroup").iterdir()
            for path in hierarchy.glob(f"{self.tag}/*")
            if path.is_dir()
        ]
        links = json.loads(run("ip", "-j", "link", "show", "master", self.tag).stdout or "[]")
        folders = [str(path) for kind in ("pods", "containers") for path in (self.run_dir / kind).glob("*")]
        layers = [str(path) for path in (self.root / "images" / "containers").glob("*")]
        rules = run("nft", "-j", "list", "table", "ip", self.tag).stdout
        elements = re.findall(r'"elem": (\[.*?\])', rules)
        return {
            "mounts": [m for m in mounts if "/pods/" in m or "/containers/" in m],
            "cgroups": cgroups,
            "links": [str(link["ifname"]) for link in links],
            "folders": folders,
            "layers": layers,
            "records": [path.name for path in (self.run_dir / "records").glob("*.json*")],
            "nft elements": elements,
            "processes": self._pod_processes(),
            "addresses": [str(path) for path in (self.root / "network" / "addresses").glob("*/[0-9]*")],
        }

    def records(self) -> dict[str, str]:
        """The state of every record in the node's KV bucket, by key."""
        return json.loads(run(PYTHON, "-c", _RECORDS, env=self.env).stdout)  # type: ignore[no-any-return]

    def _pod_processes(self) -> list[str]:
        """Processes in this node's namespaces or cgroups, keepers and shims included."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                cgroup = (folder / "cgroup").read_text()
                command = (folder / "comm").read_text().strip()
            except OSError:
                continue
            ours = f"/{self.tag}/" in cgroup or (command.startswith(("keeper", "shim:")) and self.tag in words)
            if ours:
                found.append(f"{folder.name} {command} {words}")
        return found

    def assert_clean(self, seconds: float = 5) -> None:
        def clean() -> bool:
            return not any(self.remains().values())

        try:
            until(clean, seconds, "nothing left")
        except AssertionError:
            raise AssertionError({kind: what for kind, what in self.remains().items() if what}) from None
        until(lambda: self.records() == {}, seconds, "no record is left in the KV")


@contextmanager
def node(base: Path, extra: str = "", before: Callable[[Node], None] = lambda _: None) -> Iterator[Node]:
    """A node that is up, with the busybox image loaded; afterwards nothing of it is left.

    `before` is called before it is started.
    """
    one = Node(base, extra)
    try:
        before(one)
        one.up()
        archive = base / "busybox.tar"
        run(PYTHON, "-c", f"from cribus.images import starter; starter.build({str(archive)!r}, reference={IMAGE!r})")
        one.cribus("load", str(archive))
        yield one
    finally:
        one.down()
