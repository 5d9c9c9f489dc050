"""A container without a runtime, for the shim's tests: real keeper, real nats-server, real shim.

The keeper runs as a process of its own, its init executes any program on real pipes. The shim is
started directly, or by shimd where a test is about that.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from cribus.bus import credentials
from cribus.config import Bus, Settings
from cribus.linux.process import start_time

HERE = Path(__file__).resolve().parent
SERVICES = HERE.parents[2] / "services"
SERVER = shutil.which("nats-server", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
ENV = {**os.environ, "PYTHONPATH": f"{SERVICES}:{HERE}", "PYTHONDONTWRITEBYTECODE": "1"}

_KEEPER = """
import json, os, sys
import inits
from cribus import keeper
request = json.loads(sys.argv[1])
fds = json.loads(sys.argv[2])
for fd in fds:
    os.set_inheritable(fd, False)
sys.exit(keeper.main(request, fds))
"""
_SHIM = """
import json, os, sys
from cribus.shim.__main__ import main
sys.exit(main(json.loads(sys.argv[1]), [int(sys.argv[2])]))
"""


class Rig:
    """One node's bus and run directory. `close` leaves nothing."""

    def __init__(self, base: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.base = base
        self.run = base / "run"
        self.logs = base / "logs"
        (self.run / "containers").mkdir(parents=True)
        self.settings = Settings(
            node="unit", root=str(base / "root"), run=str(self.run), bus=Bus(listen=f"127.0.0.1:{port}")
        )
        self.conf = credentials.ensure(self.settings)
        config = base / "config.toml"
        config.write_text(
            f'node = "unit"\nroot = "{base}/root"\nrun = "{self.run}"\n[bus]\nlisten = "127.0.0.1:{port}"\n'
        )
        self.env = {**ENV, "CRIBUS_CONFIG": str(config)}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.containers: list[Contained] = []
        self.nats: subprocess.Popen[bytes] | None = None
        self.start_nats()

    def start_nats(self) -> None:
        assert SERVER
        self.nats = self.popen([SERVER, "-c", str(self.conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def popen(self, argv: list[str], **more: Any) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(argv, env=self.env, **more)
        self.processes.append(process)
        return process

    def end(self, process: "subprocess.Popen[bytes]") -> None:
        if process.poll() is None:
            process.kill()
        process.wait()
        self.processes.remove(process)

    def close(self) -> None:
        for process in reversed(list(self.processes)):
            self.end(process)
        for folder in (self.run / "pods").glob("*"):
            pid = self.shim_pid(folder.name)
            if pid:
                os.kill(pid, signal.SIGKILL)
        for one in self.containers:
            one.close()

    def shim_pid(self, pod: str) -> int:
        """The pid of the process that listens as this pod's shim, 0 if none does."""
        folder = os.open(self.run / "pods" / pod, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
                client.connect(f"/proc/self/fd/{folder}/shim.sock")
                peer = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                return int.from_bytes(peer[:4], sys.byteorder)
        except OSError:
            return 0
        finally:
            os.close(folder)

    def pod(self, pod: str) -> Path:
        folder = self.run / "pods" / pod
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def shim(self, pod: str, *, wait: bool = True, generation: int = 0) -> "subprocess.Popen[bytes]":
        """A shim of the pod, answering on the bus when this returns."""
        (self.pod(pod) / "shim.json").write_text(json.dumps({"generation": generation}))
        read, write = os.pipe()
        process, orders = self.parked()
        socket.send_fds(orders, [f"{pod} {generation}".encode()], [write])
        os.close(write)
        orders.close()
        if wait:
            assert select.select([read], [], [], 20)[0]
            assert os.read(read, 1) == b"1", "the shim died"
        os.close(read)
        return process

    def parked(self) -> "tuple[subprocess.Popen[bytes], socket.socket]":
        """A shim without a pod, and where it gets its order."""
        request = {
            "run": str(self.run),
            "node": "unit",
            "url": f"nats://{self.settings.bus.listen}",
            "credentials": str(credentials.directory(self.settings) / "shim.json"),
            "orders": 0,
        }
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        orders = theirs.fileno()
        process = self.popen([sys.executable, "-c", _SHIM, json.dumps(request), str(orders)], pass_fds=[orders])
        theirs.close()
        return process, ours

    def container(self, container: str, argv: list[str], *, stdin: bool = False) -> "Contained":
        one = Contained(self, container, argv, stdin=stdin)
        self.containers.append(one)
        return one


class Contained:
    """A keeper and its init, which executes `argv`."""

    def __init__(self, rig: Rig, container: str, argv: list[str], *, stdin: bool = False) -> None:
        self.id = container
        self.folder = rig.run / "containers" / container
        self.folder.mkdir()
        folder = os.open(self.folder, os.O_RDONLY)
        answer, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fds = [folder, theirs.fileno()]
        hold: dict[str, int] = {}
        inner = []
        for name in ("stdin", "stdout", "stderr"):
            read, write = os.pipe()
            ours, container_end = (write, read) if name == "stdin" else (read, write)
            if name != "stdin":
                # as the executor does: a moment without any reader is no SIGPIPE
                os.close(container_end)
                container_end = os.open(f"/proc/self/fd/{ours}", os.O_RDWR)
            elif not stdin:
                os.close(ours)
            if name != "stdin" or stdin:
                hold[name] = len(fds)
                fds.append(ours)
            inner.append(len(fds))
            fds.append(container_end)
        request = {
            "run": 0,
            "answer": 1,
            "hold": hold,
            "spare": [],
            "title": "keeper test",
            "init": {
                "main": "inits:execute",
                "request": {"argv": argv},
                "fds": inner,
                "flags": 0,
                "pidns": -1,
                "link": False,
                "maps": [],
            },
        }
        self.keeper = rig.popen([sys.executable, "-c", _KEEPER, json.dumps(request), json.dumps(fds)], pass_fds=fds)
        for fd in [*fds[:1], *fds[2:]]:
            os.close(fd)
        theirs.close()
        said, passed, _, _ = socket.recv_fds(answer, 1000, 1)
        answer.close()
        assert said.isdigit(), said
        self.pid = int(said)
        started = start_time(self.pid)
        (self.folder / "state.json").write_text(json.dumps({"pid": self.pid, "started": started}))
        self.pidfd = passed[0]

    def kill(self, number: int = signal.SIGKILL) -> None:
        signal.pidfd_send_signal(self.pidfd, number)

    def dead(self, seconds: float = 20) -> bool:
        return bool(select.select([self.pidfd], [], [], seconds)[0])

    def keeper_pid(self) -> int:
        """Of whoever listens as its keeper, 0 if none does."""
        with contextlib.suppress(OSError), self._connected() as client:
            return int.from_bytes(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], sys.byteorder)
        return 0

    def _connected(self) -> socket.socket:
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            client.connect(f"/proc/self/fd/{folder}/keeper.sock")
        except OSError:
            client.close()
            raise
        finally:
            os.close(folder)
        return client

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.kill()
        with contextlib.suppress(OSError), self._connected() as client:  # one that stands in
            client.send(b"end")
            client.recv(10)
        os.close(self.pidfd)
