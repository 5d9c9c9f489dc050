"""One pod and its containers by the executor's own functions: no bus, this test in the shim's place.

The runtime is the built-in one, or an outside program that $CRIBUS_TEST_RUNTIME names.
"""

# files of its own tmpfs may be read from a coroutine
# ruff: noqa: ASYNC230, ASYNC240, SIM115

import asyncio
import contextlib
import json
import os
import select
import shlex
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgpack
from cribus.api.executor import STDIN, Create, CreatePod, DeletePod, Exec, Named, PodCreated
from cribus.cgroups.layout import open_tree
from cribus.config import Handler
from cribus.executor import containers, execs, keepers, pods, state, waiting
from cribus.executor.node import Node
from cribus.executor.plan import host
from cribus.forkserver import Server
from cribus.linux import fds as descriptors
from cribus.linux import inotify

RUNTIME = shlex.split(os.environ.get("CRIBUS_TEST_RUNTIME", ""))
HANDLER = "outside" if RUNTIME else ""
POD = "a" * 64
PATH = "PATH=/bin:/usr/bin"
MOUNTS: list[dict[str, Any]] = [
    {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
    {
        "destination": "/dev",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
        "destination": "/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    {
        "destination": "/sys/fs/cgroup",
        "type": "cgroup",
        "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
    },
]
CAPABILITIES = ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"]


class World:
    """One pod and its containers."""

    def __init__(self, server: Server, layer: str) -> None:
        self.layer = layer
        self.base = tempfile.mkdtemp(prefix="crbx", dir="/run")
        os.chmod(self.base, 0o711)  # root of a user namespace must get to the root filesystem
        self.node = Node(self.base, server, open_tree("cgroupfs", os.path.basename(self.base)), host.look())
        if RUNTIME:
            self.node.handlers = {HANDLER: Handler(path=RUNTIME[0], args=RUNTIME[1:])}
        self.pod = PodCreated()
        self.count = 0

    async def up(self, **more: Any) -> None:
        self.pod = await pods.create(self.node, CreatePod(pod=POD, **more))
        with open(f"{self.node.pod(POD)}/hostname", "w") as file:  # as the manager does
            file.write(f"{more.get('hostname', '')}\n")

    def spec(self, id: str, *args: str, stdin: bool = False, **process_: Any) -> dict[str, Any]:
        disk = f"{self.base}/disk/{id}"
        os.makedirs(f"{disk}/upper", exist_ok=True)
        os.makedirs(f"{disk}/work", exist_ok=True)
        overlay = [f"lowerdir={self.layer}", f"upperdir={disk}/upper", f"workdir={disk}/work"]
        kinds = {"net": "network", "ipc": "ipc", "uts": "uts", "user": "user"}
        joined = [{"type": kinds[kind], "path": path} for kind, path in self.pod.namespaces.items() if kind in kinds]
        pid = {"type": "pid", **({"path": self.pod.namespaces["pid"]} if "pid" in self.pod.namespaces else {})}
        sets = dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES)
        return {
            "ociVersion": "1.2.0",
            "root": {"path": "rootfs"},
            "process": {
                "args": list(args),
                "env": [PATH],
                "cwd": "/",
                "capabilities": sets,
                "user": {"uid": 0, "gid": 0},
                **process_,
            },
            "mounts": [{"destination": "/", "type": "overlay", "source": "overlay", "options": overlay}, *MOUNTS],
            "annotations": {STDIN: "true"} if stdin else {},
            "linux": {
                "namespaces": [*joined, pid, {"type": "mount"}],
                "cgroupsPath": f"{self.pod.cgroup}/{id}",
                "resources": {"devices": [{"allow": False, "access": "rwm"}]},
                "maskedPaths": ["/proc/kcore", "/proc/scsi", "/proc/none", "/sys/firmware"],
                "readonlyPaths": ["/proc/sys", "/proc/bus"],
            },
        }

    async def create(self, spec: Callable[[str], dict[str, Any]] | None, *args: str) -> str:
        self.count += 1
        id = f"{self.count:064x}"
        os.makedirs(self.node.bundle(id))
        with open(f"{self.node.bundle(id)}/config.json", "w") as file:
            json.dump(spec(id) if spec else self.spec(id, *args), file)
        await containers.create(self.node, Create(container=id, pod=POD, handler=HANDLER))
        return id

    async def streams(self, id: str) -> dict[str, int]:
        return await keepers.get(self.node.bundle(id))

    async def says(self, id: str, text: str) -> bool:
        """Whether the container writes this next; it is taken."""
        fds = await self.streams(id)
        try:
            return await waiting.text(fds["stdout"], 5, text.encode()) == text
        finally:
            for fd in fds.values():
                os.close(fd)

    async def end(self, id: str, seconds: float = 10) -> tuple[str, str, int]:
        """Output, errors and exit code of a started container."""
        fds = await self.streams(id)
        assert await waiting.readable(fds["pidfd"], seconds), "does not end"
        await appears(self.node.bundle(id), "exit.json")
        texts = []
        for name in ("stdout", "stderr"):
            os.set_blocking(fds[name], False)
            try:
                texts.append(os.read(fds[name], 65536).decode())
            except BlockingIOError:
                texts.append("")
        for fd in fds.values():
            os.close(fd)
        return texts[0], texts[1], state.read(self.node, id).exit_code

    async def run(self, spec: Callable[[str], dict[str, Any]] | None, *args: str) -> tuple[str, str, int]:
        id = await self.create(spec, *args)
        await containers.start(self.node, Named(container=id))
        return await self.end(id)

    async def exec(self, id: str, *args: str, **more: Any) -> tuple[str, int]:
        """Output and wait status of a further process, with this test in the shim's place."""
        read, write = os.pipe()
        null = os.open("/dev/null", os.O_RDONLY)
        try:
            return await self._exec(id, [null, write, write], read, args=list(args), **more)
        finally:
            os.close(null)

    async def exec_terminal(self, id: str, *args: str, **more: Any) -> tuple[str, int]:
        """The same with a terminal, which comes on a socket."""
        link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with link:
            return await self._exec(id, [theirs.detach()], link.fileno(), args=list(args), tty=True, **more)

    def container_cgroup(self, id: str) -> str:
        return f"{self.pod.cgroup}/{id}"

    async def abandon(self, id: str, *args: str) -> None:
        """An exec whose shim dies once the process executes."""
        exit_read, exit_write = os.pipe()
        null = os.open("/dev/null", os.O_RDWR)
        directory = os.open(self.node.pod(POD), os.O_PATH)
        with descriptors.listen_at(directory, "shim.sock") as listener:
            ask = Exec(container=id, pod=POD, exec_id="e2", args=list(args))
            asking = asyncio.create_task(execs.run(self.node, ask))
            await waiting.readable(listener.fileno(), 5)
            client, _ = listener.accept()
            with client:
                assert await waiting.readable(client.fileno(), 5)
                descriptors.recv(client)
                descriptors.send(client, b"\x80", [null, null, null, exit_write])
                await asking
        for fd in (exit_read, exit_write, null, directory):
            os.close(fd)

    async def _exec(self, id: str, inner: list[int], output: int, **more: Any) -> tuple[str, int]:
        exit_read, exit_write = os.pipe()
        directory = os.open(self.node.pod(POD), os.O_PATH)
        listener = descriptors.listen_at(directory, "shim.sock")
        asking = asyncio.create_task(execs.run(self.node, Exec(container=id, pod=POD, exec_id="e1", **more)))
        try:
            await waiting.readable(listener.fileno(), 5)
            client, _ = listener.accept()
            with client:
                told = await self._shim(client, [*inner, exit_write])
            answer = await asking
            if more.get("tty"):
                with socket.socket(fileno=os.dup(output)) as link:
                    output = descriptors.recv(link, 1)[1][0]
            assert told == answer.pid
            os.close(inner[-1])
            os.close(exit_write)
            assert await waiting.readable(exit_read, 10)
            status = int.from_bytes(os.read(exit_read, 4), "little")
            os.set_blocking(output, False)
            text = b""
            with contextlib.suppress(OSError):
                while part := os.read(output, 65536):
                    text += part
            return text.decode(), os.waitstatus_to_exitcode(status)
        finally:
            listener.close()
            for fd in (output, exit_read, directory):
                os.close(fd)

    async def _shim(self, client: socket.socket, passed: list[int]) -> int:
        """Answer the executor until it leaves: the pid that was told."""
        pid = 0
        while await waiting.readable(client.fileno(), 30):
            data, fds = descriptors.recv(client)
            if not data:
                break
            said = msgpack.unpackb(data)
            assert said["exec"] == "e1"
            pid = said.get("pid", pid)
            if "pid" not in said:
                descriptors.send(client, b"\x80", passed)
            for fd in fds:
                os.close(fd)
        return pid

    async def down(self) -> list[str]:
        """Remove everything; what is left of it."""
        for id in os.listdir(f"{self.base}/containers") if os.path.isdir(f"{self.base}/containers") else []:
            await containers.delete(self.node, Named(container=id))
        await pods.delete(self.node, DeletePod(pod=POD))
        for kind in (self.node.keepers, self.node.pods):
            await kind.ahead.close()
        name = os.path.basename(self.base)
        left = [line.split()[4] for line in open("/proc/self/mountinfo") if name in line]
        left += os.listdir(f"{self.base}/pods") + (
            os.listdir(f"{self.base}/containers") if os.path.isdir(f"{self.base}/containers") else []
        )
        parent = "/" + name
        for directory in filter(
            os.path.isdir, (*self.node.tree.directories(parent), *self.node.tree.strangers(parent))
        ):
            left += [f"{directory}/{one}" for one in os.listdir(directory) if os.path.isdir(f"{directory}/{one}")]
        left += _processes(name)
        self.node.tree.delete(parent)
        shutil.rmtree(self.base)
        return left


def _processes(name: str) -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline") as file:
                text = file.read()
            with open(f"/proc/{pid}/cgroup") as file:
                text += file.read()
        except OSError:
            continue
        if name in text:
            found.append(f"process {pid} {text[:80]}")
    return found


async def appears(folder: str, name: str, seconds: float = 5) -> None:
    """Wait until a file is there."""
    watch = inotify.init()
    try:
        inotify.add_watch(watch, folder, inotify.IN_MOVED_TO | inotify.IN_CREATE)
        while not os.path.exists(f"{folder}/{name}"):
            assert await waiting.readable(watch, seconds), f"{name} does not appear"
            inotify.read(watch)
    finally:
        os.close(watch)


async def reaped(pidfd: int, seconds: float = 5) -> None:
    """Wait until the process was reaped, by whomever."""
    poll = select.poll()
    poll.register(pidfd, 0)
    assert await asyncio.to_thread(poll.poll, seconds * 1000), "nobody reaps it"


@contextlib.asynccontextmanager
async def world(server: Server, layer: str, **more: Any) -> AsyncIterator[World]:
    one = World(server, layer)
    left = ["not taken down"]
    try:
        await one.up(**{"namespaces": ["net", "ipc", "uts"], "hostname": "harbour", **more})
        yield one
    finally:
        left = await one.down()
        print(json.dumps({"left": left}))
