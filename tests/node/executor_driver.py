"""Cases for the executor with real containers; `test_executor.py` runs each in a process of its own."""

# files of its own tmpfs may be read from a coroutine, and a test waits for states that nobody announces
# ruff: noqa: ASYNC110, ASYNC230, ASYNC240, SIM115, PT017

import sys

from cribus import forkserver

if __name__ == "__main__" and sys.argv[1] != "--list":
    SERVER = forkserver.start(
        ["cribus.keeper", "cribus.executor.child.init", "cribus.executor.child.exec", "cribus.executor.child.pod"]
    )

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import msgpack
from cribus import errors
from cribus.api.executor import Create, CreatePod, DeletePod, Exec, IdMap, Kill, Named, PodCreated, Resources
from cribus.cgroups.layout import open_tree
from cribus.executor import containers, execs, keepers, pods, state, waiting
from cribus.executor.node import Node
from cribus.executor.plan import host
from cribus.linux import fds as descriptors
from cribus.linux import process

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

    def __init__(self, layer: str) -> None:
        self.layer = layer
        self.base = tempfile.mkdtemp(prefix="crbx", dir="/run")
        self.node = Node(self.base, SERVER, open_tree("cgroupfs", os.path.basename(self.base)), host.look())
        self.pod = PodCreated()
        self.count = 0

    async def up(self, **more: Any) -> None:
        self.pod = await pods.create(self.node, CreatePod(pod=POD, **more))

    def spec(self, id: str, *args: str, **process_: Any) -> dict[str, Any]:
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
            "process": {"args": list(args), "env": [PATH], "cwd": "/", "capabilities": sets, **process_},
            "mounts": [{"destination": "/", "type": "overlay", "source": "overlay", "options": overlay}, *MOUNTS],
            "annotations": {},
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
        await containers.create(self.node, Create(container=id, pod=POD))
        return id

    async def streams(self, id: str) -> dict[str, int]:
        return await keepers.get(self.node.bundle(id))

    async def end(self, id: str, seconds: float = 10) -> tuple[str, str, int]:
        """Output, errors and exit code of a started container."""
        fds = await self.streams(id)
        assert await waiting.readable(fds["pidfd"], seconds), "does not end"
        async with asyncio.timeout(5):
            while not os.path.exists(f"{self.node.bundle(id)}/exit.json"):
                await asyncio.sleep(0.001)
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
        exit_read, exit_write = os.pipe()
        null = os.open("/dev/null", os.O_RDONLY)
        directory = os.open(self.node.pod(POD), os.O_PATH)
        listener = descriptors.listen_at(directory, "shim.sock")
        asking = asyncio.create_task(
            execs.run(self.node, Exec(container=id, pod=POD, exec_id="e1", args=list(args), **more))
        )
        try:
            await waiting.readable(listener.fileno(), 5)
            client, _ = listener.accept()
            assert await waiting.readable(client.fileno(), 5)
            assert msgpack.unpackb(descriptors.recv(client)[0]) == {"exec": "e1"}
            descriptors.send(client, b"\x80", [null, write, write, exit_write])
            os.close(write)
            os.close(exit_write)
            assert await waiting.readable(client.fileno(), 5)
            data, fds = descriptors.recv(client)
            answer = await asking
            assert msgpack.unpackb(data)["pid"] == answer.pid
            assert await waiting.readable(exit_read, 10)
            status = int.from_bytes(os.read(exit_read, 4), "little")
            os.set_blocking(read, False)
            text = b""
            with contextlib.suppress(BlockingIOError):
                while part := os.read(read, 65536):
                    text += part
            for fd in fds:
                os.close(fd)
            client.close()
            return text.decode(), os.waitstatus_to_exitcode(status)
        finally:
            listener.close()
            for fd in (read, exit_read, null, directory):
                os.close(fd)

    async def down(self) -> list[str]:
        """Remove everything; what is left of it."""
        for id in os.listdir(f"{self.base}/containers") if os.path.isdir(f"{self.base}/containers") else []:
            await containers.delete(self.node, Named(container=id))
        await pods.delete(self.node, DeletePod(pod=POD))
        name = os.path.basename(self.base)
        left = [line.split()[4] for line in open("/proc/self/mountinfo") if name in line]
        left += os.listdir(f"{self.base}/pods") + (
            os.listdir(f"{self.base}/containers") if os.path.isdir(f"{self.base}/containers") else []
        )
        parent = "/" + name
        for directory in self.node.tree.directories(parent):
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


@contextlib.asynccontextmanager
async def world(**more: Any) -> AsyncIterator[World]:
    one = World(sys.argv[2])
    left = ["not taken down"]
    try:
        await one.up(**{"namespaces": ["net", "ipc", "uts"], "hostname": "harbour", **more})
        yield one
    finally:
        left = await one.down()
        print(json.dumps({"left": left}))


CASES: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}


def case(function: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], Coroutine[Any, Any, None]]:
    CASES[function.__name__] = function
    return function


@case
async def output_and_exit_code() -> None:
    async with world() as w:
        assert await w.run(None, "sh", "-c", "echo out; echo err >&2; exit 42") == ("out\n", "err\n", 42)


@case
async def what_the_container_sees() -> None:
    script = """hostname; echo $$; cat /proc/self/status | grep -i capeff; ls /dev | tr '\\n' ' '; echo
        touch /new && echo wrote; touch /proc/sys/x 2>/dev/null || echo ro; ls /sys/fs/cgroup | tr '\\n' ' '; echo
        mount | grep -c ' / '; cat /sys/fs/cgroup/memory/tasks | head -1; ls -l /proc/self/fd/ | wc -l; umask"""
    async with world(sysctls={"net.ipv4.ip_unprivileged_port_start": "0"}) as w:
        out, err, code = await w.run(None, "sh", "-c", script)
        assert code == 0, err
        lines = out.splitlines()
        assert lines[0] == "harbour"
        assert lines[1] == "1"
        wanted = sum(1 << bit for bit in (0, 5, 10, 7, 6, 8))
        assert int(lines[2].split()[1], 16) == wanted
        for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "fd", "stdin", "mqueue"):
            assert name in lines[3].split()
        assert lines[4:6] == ["wrote", "ro"]
        assert {"memory", "cpu", "pids"} <= set(lines[6].split()) or "cgroup.procs" in lines[6]
        assert lines[7] == "1"
        assert os.path.exists(f"{w.base}/disk/{1:064x}/upper/new")


@case
async def exec_in_it() -> None:
    async with world() as w:
        id = await w.create(None, "sleep", "100")
        await containers.start(w.node, Named(container=id))
        text, code = await w.exec(id, "sh", "-c", "hostname; echo $FOO; cat /proc/1/cmdline; exit 3", env=["FOO=bar"])
        assert (text, code) == ("harbour\nbar\nsleep\x00100\x00", 3)
        text, code = await w.exec(id, "cat", "/proc/self/cgroup")
        assert all(
            line.split(":")[2].endswith(id) for line in text.splitlines() if ":memory:" in line or ":pids:" in line
        )
        try:
            await w.exec(id, "nope")
        except errors.NotFound as error:
            assert error.message == 'exec "nope": executable file not found in $PATH of the container'
        else:
            raise AssertionError("exec of what is not there")
        await containers.kill(w.node, Kill(container=id, signal=9))
        assert (await w.end(id))[2] == 137


@case
async def programs_that_cannot_run() -> None:
    async with world() as w:
        for args, kind, text in (
            (("/nope",), errors.NotFound, 'exec "/nope": no such file or directory in the container'),
            (("/etc/passwd",), errors.InvalidArgument, 'exec "/etc/passwd": permission denied'),
        ):
            id = await w.create(None, *args)
            try:
                await containers.start(w.node, Named(container=id))
            except kind as error:
                assert error.message == text, error.message
            else:
                raise AssertionError(args)
            assert state.read(w.node, id).status == "stopped"


@case
async def signals_and_states() -> None:
    async with world() as w:
        id = await w.create(None, "sh", "-c", "trap 'echo got; exit 5' TERM; while :; do sleep 0.05; done")
        again = await containers.create(w.node, Create(container=id, pod=POD))
        assert again.pid == state.read(w.node, id).pid
        assert state.read(w.node, id).status == "created"
        await containers.start(w.node, Named(container=id))
        await containers.start(w.node, Named(container=id))
        assert state.read(w.node, id).status == "running"
        await containers.pause(w.node, Named(container=id))
        assert state.read(w.node, id).status == "paused"
        await containers.resume(w.node, Named(container=id))
        await containers.update(w.node, Resources(container=id, resources={"pids": {"limit": 50}}))
        async with asyncio.timeout(5):
            while b"trap" not in open(f"/proc/{again.pid}/cmdline", "rb").read():
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        await containers.kill(w.node, Kill(container=id, signal=15))
        assert await w.end(id) == ("got\n", "", 5)
        await containers.kill(w.node, Kill(container=id, signal=15))
        found = state.read(w.node, id)
        assert (found.status, found.exit_known, found.pid) == ("stopped", True, 0)
        await containers.delete(w.node, Named(container=id))
        await containers.delete(w.node, Named(container=id))
        assert state.every(w.node).containers == []


@case
async def a_killed_keeper() -> None:
    async with world() as w:
        id = await w.create(None, "sh", "-c", "sleep 0.3; exit 9")
        record = state.load(w.node.bundle(id))
        assert record is not None
        await containers.start(w.node, Named(container=id))
        os.kill(record.keeper, signal.SIGKILL)
        held = w.node.held[id]
        await waiting.readable(held.pidfd, 5)
        async with asyncio.timeout(5):
            while not state.read(w.node, id).exit_known:
                await asyncio.sleep(0.001)
        assert state.read(w.node, id).exit_code == 9


@case
async def half_made() -> None:
    """A crash between intent and the end of creation: the next creation begins anew."""
    async with world() as w:
        id = await w.create(None, "sleep", "100")
        bundle = w.node.bundle(id)
        record = state.load(bundle)
        assert record is not None
        state.save(bundle, state.Record(container=id, pod=POD, cgroup=record.cgroup))
        w.node.let_go(id)
        made = await containers.create(w.node, Create(container=id, pod=POD))
        assert made.pid != record.pid
        assert not process.is_running(record.pid, record.started)
        assert not process.is_running(record.keeper, record.keeper_started)


@case
async def terminal() -> None:
    async with world() as w:
        id = await w.create(lambda id: w.spec(id, "sh", "-c", "tty; test -t 0 && echo yes; cat", terminal=True))
        await containers.start(w.node, Named(container=id))
        fds = await w.streams(id)
        console = fds["console"]
        assert (await waiting.text(console, 5, b"yes\r\n")).replace("\r", "") == "/dev/pts/0\nyes\n"
        os.write(console, b"echoed\n\x04")
        said = await waiting.text(console, 5, b"echoed\r\nechoed\r\n")
        assert "echoed" in said
        for fd in fds.values():
            os.close(fd)


@case
async def binds() -> None:
    async with world() as w:
        os.makedirs(f"{w.base}/host/sub")
        with open(f"{w.base}/host/file", "w") as file:
            file.write("content")

        def spec(id: str) -> dict[str, Any]:
            made = w.spec(id, "sh", "-c", "cat /a/b/file /etc/resolv.conf; touch /a/b/x; touch /w/x; ls /fresh")
            made["mounts"] += [
                {"destination": "/a/b", "type": "bind", "source": f"{w.base}/host", "options": ["rbind", "ro"]},
                {"destination": "/w", "type": "bind", "source": f"{w.base}/host/sub", "options": ["rbind", "rslave"]},
                {"destination": "/etc/resolv.conf", "source": f"{w.base}/host/file", "options": ["bind", "rro"]},
                {"destination": "/fresh", "source": f"{w.base}/host/made", "options": ["rbind", "rprivate"]},
                {"destination": "/sh", "source": f"{w.base}/host", "options": ["rbind", "rshared"]},
            ]
            made["linux"]["rootfsPropagation"] = "rshared"
            return made

        out, err, code = await w.run(spec)
        assert out == "contentcontent", (out, err)
        assert "Read-only" in err
        assert (code, os.path.exists(f"{w.base}/host/sub/x"), os.path.isdir(f"{w.base}/host/made")) == (0, True, True)
        assert not any("rootfs" in line for line in open("/proc/self/mountinfo") if w.base in line)


@case
async def user_and_limits() -> None:
    async with world() as w:
        user = {"uid": 1000, "gid": 1000, "additionalGids": [7, 8], "umask": 0o077}

        def spec(id: str) -> dict[str, Any]:
            made = w.spec(
                id, "sh", "-c", "id -u; id -g; id -G; umask; ulimit -n; cat /proc/self/oom_score_adj; pwd; "
                "grep -E 'NoNewPrivs|Seccomp:|CapEff' /proc/self/status; mkdir /tmp/x",
                user=user, noNewPrivileges=True, cwd="/made/here", oomScoreAdj=500,
                rlimits=[{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}],
            )  # fmt: skip
            made["linux"]["seccomp"] = {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
            }
            return made

        out, err, _ = await w.run(spec)
        lines = out.split("\n")
        assert lines[:7] == ["1000", "1000", "1000 7 8", "0077", "100", "500", "/made/here"], out
        words = [line.split()[1] for line in lines[7:10]]
        assert words == ["0000000000000000", "1", "2"], lines
        assert "not supported" in err.lower(), err


@case
async def shared_pid_namespace() -> None:
    async with world(namespaces=["net", "ipc", "uts", "pid"]) as w:
        assert w.pod.pid > 0
        first = await w.create(None, "sleep", "77")
        await containers.start(w.node, Named(container=first))
        out, err, code = await w.run(
            None, "sh", "-c", "ps | grep -v grep | grep -c 'sleep 77'; test $$ != 1 && echo no"
        )
        assert (out, code) == ("1\nno\n", 0), (out, err)
        again = await pods.create(w.node, CreatePod(pod=POD, namespaces=["net", "ipc", "uts", "pid"], hostname="x"))
        assert again.pid == w.pod.pid


@case
async def user_namespace() -> None:
    maps = [IdMap(container=0, host=200000, size=65536)]
    async with world(namespaces=["net", "ipc", "uts", "user"], uids=maps, gids=maps) as w:

        def spec(id: str) -> dict[str, Any]:
            made = w.spec(
                id,
                "sh",
                "-c",
                "id -u; cat /proc/self/uid_map; stat -c %u /bin/busybox /dev/null /dev; touch /y; ls /dev/pts",
            )
            mapped = [{"containerID": 0, "hostID": 200000, "size": 65536}]
            made["linux"]["uidMappings"] = made["linux"]["gidMappings"] = mapped
            made["mounts"][0]["uidMappings"] = made["mounts"][0]["gidMappings"] = mapped
            return made

        out, err, code = await w.run(spec)
        lines = out.split("\n")
        assert lines[0] == "0", (out, err)
        assert lines[1].split() == ["0", "200000", "65536"]
        assert lines[2:5] == ["0", "0", "0"], (out, err)
        assert (code, err) == (0, ""), (out, err)
        assert os.stat(f"{w.base}/disk/{1:064x}/upper/y").st_uid == 200000


@case
async def timing() -> None:
    """How long create and start take, at the median of a few (printed)."""
    async with world() as w:
        rows = []
        for _ in range(20):
            begin = time.perf_counter()
            id = await w.create(None, "true")
            made = time.perf_counter()
            await containers.start(w.node, Named(container=id))
            started = time.perf_counter()
            await containers.delete(w.node, Named(container=id))
            rows.append((made - begin, started - made, time.perf_counter() - started))
        text = [f"{sorted(column)[10] * 1000:.1f}" for column in zip(*rows, strict=True)]
        print("create, start, delete in ms:", *text)


if __name__ == "__main__":
    if sys.argv[1] == "--list":
        print(*CASES)
    else:
        asyncio.run(CASES[sys.argv[1]]())
