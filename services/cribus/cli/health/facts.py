"""What is true of this host and node now. Looks, and judges nothing; none of it takes long."""

import asyncio
import ctypes
import json
import os
import platform
import re
import shutil
import socket
from pathlib import Path

import msgspec

from cribus import config
from cribus.api import executor
from cribus.api.executor import Criu
from cribus.api.verb import Empty
from cribus.bus import credentials, service
from cribus.cli.session import connected
from cribus.cli.supervisor import control
from cribus.config import Settings
from cribus.errors import CribusError
from cribus.linux import process

BUS_PATIENCE = 0.8  # seconds
_NETFILTER = 12  # NETLINK_NETFILTER, linux/netlink.h


class Service(msgspec.Struct, frozen=True):
    name: str
    state: str
    pid: int
    restarts: int


class Bus(msgspec.Struct, frozen=True):
    """`refused` says why there is no bus; "" when there is one."""

    refused: str = ""
    milliseconds: float = 0.0
    jetstream: str = ""  # why there is no JetStream, or ""
    records: int = 0  # bytes that JetStream holds
    criu: Criu | None = None  # what the executor says of it; None where it does not answer


class Cni(msgspec.Struct, frozen=True):
    """The network list that is in force; no `path`: the built-in network."""

    path: str = ""
    plugins: list[str] = []
    missing: list[str] = []
    broken: str = ""


class Facts(msgspec.Struct, frozen=True):
    kernel: str
    version: tuple[int, int]
    pidfd_exit: bool  # exit codes can be read from a pidfd after the process was reaped
    cgroup: str  # v1, hybrid, v2 or ""
    controllers: list[str]
    overlayfs: bool
    nftables_kernel: bool
    nftables_library: bool
    seccomp_kernel: bool
    seccomp_library: bool
    capabilities: int  # of this process, a bit each
    run_type: str  # file system of settings.run
    disk_free: int  # bytes
    disk_share: float  # 0 to 1, free
    inode_share: float
    services: list[Service]
    node: str  # why the services are not known, or ""
    gateway: bool
    bus: Bus
    cni: Cni
    hangs: list[tuple[str, int, int, str]] = []  # program, how often, when last, how


def gather(settings: Settings) -> Facts:
    """Everything, in well under two seconds."""
    release = platform.release()
    found = re.match(r"(\d+)\.(\d+)", release)
    space = os.statvfs(existing(settings.root))
    services, reason = _services(settings)
    return Facts(
        kernel=release,
        version=(int(found[1]), int(found[2])) if found else (0, 0),
        pidfd_exit=_pidfd_exit(),
        cgroup=cgroup_version(Path("/sys/fs/cgroup")),
        controllers=controllers(Path("/sys/fs/cgroup")),
        overlayfs="overlay" in Path("/proc/filesystems").read_text().split() or _module("overlay"),
        nftables_kernel=_nftables(),
        nftables_library=_library("libnftables.so.1"),
        seccomp_kernel=os.path.exists("/proc/sys/kernel/seccomp/actions_avail"),
        seccomp_library=_library("libseccomp.so.2"),
        capabilities=_capabilities(),
        run_type=file_system(existing(settings.run), Path("/proc/self/mountinfo").read_text()),
        disk_free=space.f_bavail * space.f_frsize,
        disk_share=space.f_bavail / max(1, space.f_blocks),
        inode_share=space.f_favail / space.f_files if space.f_files else 1.0,
        services=services,
        node=reason,
        gateway=_accepts(settings.gateway.socket),
        bus=asyncio.run(_bus(settings)),
        cni=cni(settings.network),
        hangs=control.hangs(settings),
    )


def existing(path: str) -> str:
    """The path, or its nearest parent that exists."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def _pidfd_exit() -> bool:
    child = os.posix_spawn("/bin/true", ["true"], {})
    descriptor = os.pidfd_open(child)
    try:
        os.waitpid(child, 0)
        return process.pidfd_exit(descriptor) is not None
    finally:
        os.close(descriptor)


def cgroup_version(root: Path) -> str:
    """v2, hybrid (v1 with a v2 tree beside it), v1, or "" when none is mounted."""
    if (root / "cgroup.controllers").exists():
        return "v2"
    if not (root / "memory").is_dir():
        return ""
    return "hybrid" if (root / "unified" / "cgroup.controllers").exists() else "v1"


def controllers(root: Path) -> list[str]:
    """The controllers that can limit a container."""
    unified = root / "cgroup.controllers"
    if unified.exists():
        return sorted(unified.read_text().split())
    return sorted(path.name for path in root.iterdir() if (path / "tasks").exists()) if root.is_dir() else []


def _module(name: str) -> bool:
    """Whether the kernel can load that module when it is wanted."""
    folder = Path("/lib/modules") / platform.release()
    return any(
        f"/{name}.ko" in (folder / index).read_text(errors="replace")
        for index in ("modules.dep", "modules.builtin")
        if (folder / index).exists()
    )


def _nftables() -> bool:
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER):
            return True
    except OSError:
        return False


def _library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _capabilities() -> int:
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1], 16) if found else 0


def file_system(path: str, mountinfo: str) -> str:
    """The type of the file system that holds `path`, by proc_pid_mountinfo(5)."""
    best, kind = "", ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4]
        if (path + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best):
            best, kind = point, after.split()[0]
    return kind


def _services(settings: Settings) -> tuple[list[Service], str]:
    try:
        found = control.programs(settings)
    except CribusError as error:
        return [], error.message
    return [Service(one.name, one.state, one.pid, one.restarts) for one in found], ""


def _accepts(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(0.2)
        try:
            client.connect(path)
        except OSError:
            return False
    return True


async def _bus(settings: Settings) -> Bus:
    if not (credentials.directory(settings) / "cli.json").exists():
        return Bus(refused="there are no credentials yet; `cribus up` makes them")
    try:
        async with asyncio.timeout(BUS_PATIENCE), connected(settings, BUS_PATIENCE) as bus:
            loop = asyncio.get_running_loop()
            began = loop.time()
            await bus.connection.nats.flush()
            took = (loop.time() - began) * 1000
            try:
                account = await bus.connection.while_up(bus.connection.nats.jetstream(timeout=0.4).account_info, 0.4)
            except CribusError as error:
                return Bus(milliseconds=took, jetstream=error.message)
            return Bus(milliseconds=took, records=account.storage, criu=await _criu(bus))
    except TimeoutError:
        return Bus(refused="it does not answer")
    except CribusError as error:
        return Bus(refused=error.message)


async def _criu(bus: service.Bus) -> Criu | None:
    try:
        return await bus.call(executor.CRIU, Empty(), timeout=BUS_PATIENCE / 2)
    except CribusError:
        return None


def cni(network: config.Network) -> Cni:
    """The first network list of conf_dir by name, and whether its plugins are there."""
    built_in = {"bridge", "host-local", "portmap", "loopback"}
    folder = Path(network.conf_dir)
    files = sorted(path for path in folder.glob("*") if path.suffix in (".conflist", ".conf", ".json"))
    if not files:
        return Cni()
    try:
        known = json.loads(files[0].read_text())
        parts = known.get("plugins", [known])
        names = [str(part["type"]) for part in parts]
        names += [str(part["ipam"]["type"]) for part in parts if part.get("ipam")]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Cni(path=str(files[0]), broken=f"{type(error).__name__}: {error}")
    path = ":".join(network.bin_dirs)
    missing = [name for name in names if name not in built_in and not shutil.which(name, path=path)]
    return Cni(path=str(files[0]), plugins=names, missing=missing)
