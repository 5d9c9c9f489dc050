"""The processes that a storm may kill, found by what the kernel says of them, and killed by a descriptor that
names the very process: services and their fork servers, supervisord, and shims and keepers of the storm's own pods.

Nothing here asks a service, because it may be away.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from typing import NamedTuple

from cribus.bus.connection import RETRY, pause
from cribus.cli.storm.plan import POD_PARTS, WEIGHTS
from cribus.cli.supervisor import configuration, daemon
from cribus.config import Settings
from cribus.errors import DeadlineExceeded
from cribus.linux import fds

FORK_SERVER = " fork server"
_SOCKETS = {"shim": ("pods", "shim.sock"), "keeper": ("containers", "keeper.sock")}
_TITLES = {"shim": "shim:", "keeper": "keeper"}


class Own(NamedTuple):
    """A pod of the storm, and a container of it that runs."""

    pod: str
    container: str


class Process(NamedTuple):
    """`pidfd` is ours to close."""

    pid: int
    pidfd: int

    def close(self) -> None:
        os.close(self.pidfd)


def kinds(settings: Settings, wanted: str = "") -> list[str]:
    """What can be killed on this node; `wanted`, a list by comma, narrows it. Raises KeyError for a stranger."""
    there = [one for one in WEIGHTS if one != "nats" or not settings.bus.url]
    if not wanted:
        return there
    chosen = [one.strip() for one in wanted.split(",")]
    for one in chosen:
        if one not in there:
            raise KeyError(one)
    return [one for one in there if one in chosen]


def find(settings: Settings, kind: str, own: Own) -> Process | None:
    """The process of that kind as it is now; a shim or keeper is that of `own`. None while there is none."""
    pid = _pid(settings, kind, own)
    if not pid:
        return None
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    # Looked at again once the descriptor names it: if it is still the one, the descriptor is that one's.
    if _pid(settings, kind, own) == pid and _is(settings, kind, pid):
        return Process(pid, pidfd)
    os.close(pidfd)
    return None


def _pid(settings: Settings, kind: str, own: Own) -> int:
    if kind in POD_PARTS:
        return _listener(settings, kind, own)
    supervisord = daemon.running(str(configuration.directory(settings)))
    if kind == "supervisord" or not supervisord:
        return supervisord
    service = _service(settings, kind.removesuffix(FORK_SERVER), supervisord)
    if not kind.endswith(FORK_SERVER):
        return service
    return next((one for one in children(service) if read(one, "comm").strip() == b"forkserver"), 0) if service else 0


def _service(settings: Settings, name: str, supervisord: int) -> int:
    """The child of the node's supervisord that is this service."""
    conf = os.fsencode(f"{settings.root}/bus/nats.conf")
    mark = [b"-c", conf] if name == "nats" else [b"-m", b"cribus." + name.encode()]
    return next((one for one in children(supervisord) if read(one, "cmdline").split(b"\0")[-3:-1] == mark), 0)


def _listener(settings: Settings, kind: str, own: Own) -> int:
    """Who listens at the socket of a shim or keeper, by the kernel's word (unix(7), SO_PEERCRED)."""
    folder, name = _SOCKETS[kind]
    try:
        sock = fds.connect_in(f"{settings.run}/{folder}/{own.pod if kind == 'shim' else own.container}", name)
    except OSError:
        return 0
    if sock is None:
        return 0
    with sock:
        return int.from_bytes(sock.getsockopt(*_PEER)[:4], "little")


_PEER = (1, 17, 12)  # SOL_SOCKET, SO_PEERCRED, the size of struct ucred


def _is(settings: Settings, kind: str, pid: int) -> bool:
    """Whether a shim's or keeper's process says that it is one; of others `_pid` has looked."""
    return kind not in POD_PARTS or read(pid, "comm").decode(errors="replace").startswith(_TITLES[kind])


def read(pid: int, name: str) -> bytes:
    """A file of /proc/<pid>; empty when the process is gone."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()
    return b""


def children(pid: int) -> Iterator[int]:
    """Children of a process, of all its threads (proc_pid_children(5))."""
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            yield from map(int, read(pid, f"task/{thread}/children").split())


def strike(process: Process, name: str) -> None:
    """SIGKILL, SIGTERM or SIGSTOP, to that very process. One that has just gone by itself is none the worse."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(process.pidfd, signal.Signals[f"SIG{name}"])


async def gone(process: Process, seconds: float) -> None:
    """Wait until it has ended. Raises DeadlineExceeded."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    loop.add_reader(process.pidfd, lambda: None if ended.done() else ended.set_result(None))
    try:
        async with asyncio.timeout(seconds):
            await ended
    except TimeoutError as error:
        raise DeadlineExceeded(f"process {process.pid} does not end within {seconds:g} s of its signal") from error
    finally:
        loop.remove_reader(process.pidfd)


async def moves(process: Process) -> None:
    """Wait until it is not stopped any more, or has gone."""
    while read(process.pid, "stat").rpartition(b")")[2].split()[:1] == [b"T"]:
        await pause(RETRY)


async def successor(settings: Settings, kind: str, before: int, own: Own) -> None:
    """Wait until another process has the place of `before`, or the place is gone with its container."""
    while True:
        now = _pid(settings, kind, own)
        if now not in (0, before) or (kind in POD_PARTS and not place(settings, kind, own)):
            return
        await pause(RETRY)


def place(settings: Settings, kind: str, own: Own) -> bool:
    """Whether there should be a shim or keeper of `own`: the pod is there, the container has not ended."""
    if kind == "shim":
        return os.path.exists(f"{settings.run}/pods/{own.pod}/shim.json")
    bundle = f"{settings.run}/containers/{own.container}"
    return os.path.exists(bundle) and not os.path.exists(f"{bundle}/exit.json")
