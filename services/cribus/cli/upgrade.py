"""Replace every process of the node by its new version, one after another, while pods run on.

Without --to, by what is installed in this environment now; with --to DIR, by the version in the
virtual environment DIR (made by `deploy/install --venv DIR`), to which the `cribus` link is switched.
A service that does not answer in its new version is put back, with all before it.
"""

import argparse
import asyncio
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from cribus import config
from cribus.api import executor, images, manager, shimd
from cribus.api.cri.runtime import StatusRequest
from cribus.api.cri.stats import ImageFsInfoRequest
from cribus.api.verb import Empty, Message, Verb
from cribus.bus.connection import pause
from cribus.bus.service import VERSION, Bus
from cribus.cli import down, readiness, up
from cribus.cli.session import connected
from cribus.cli.supervisor import configuration, control, replace
from cribus.config import Settings
from cribus.errors import CribusError, DeadlineExceeded, FailedPrecondition, NotFound

Timed = Callable[[str], contextlib.AbstractContextManager[None]]
READY = 20.0  # seconds for one process to be replaced
_RETRY = 0.02  # seconds between two looks
# Which a new version must answer, from what it has to know for that.
_QUESTIONS: dict[str, tuple[Verb[Any, Any], Message]] = {
    "images": (images.FS_INFO, ImageFsInfoRequest()),
    "executor": (executor.STATES, Empty()),
    "shimd": (shimd.LIST_SHIMS, Empty()),
    "manager": (manager.STATUS, StatusRequest()),
}
_UNIT = "cribus.service"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", default="", metavar="DIR", help="virtual environment of the version to change to")
    parser.add_argument("--json", action="store_true", help="print what was replaced as JSON")


def command(given: argparse.Namespace) -> int:
    if given.to:
        _become(given.to, as_json=given.json)
    settings = config.load()
    if not control.supervised(settings):
        raise FailedPrecondition("the node is not running; `cribus up` starts it, in this version")
    before = replace.interpreter(configuration.conf(settings).read_text())
    took = asyncio.run(upgrade(settings, quiet=given.json))
    switched = switch(before)
    if given.json:
        print(json.dumps({"version": VERSION, "seconds": took, "link": switched}, indent=2))
    else:
        print(f"node {settings.node} runs cribus {VERSION}" + (f"; {switched} points to it" if switched else ""))
    return 0


def _become(folder: str, *, as_json: bool) -> None:
    """Go on as the command line of the other environment: what is new about an upgrade, the new one knows."""
    python = Path(folder, "bin", "python").absolute()
    if not os.access(python, os.X_OK):
        raise NotFound(f"{folder} is no virtual environment: there is no {python}; `deploy/install --venv` makes one")
    if python == Path(sys.executable):
        return
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    argv = [str(python), "-m", "cribus.cli", "upgrade", *(["--json"] if as_json else [])]
    os.execve(python, argv, environment)


async def upgrade(settings: Settings, *, quiet: bool) -> dict[str, float]:
    """Everything; seconds for each replacement. Raises CribusError, and then all is as it was."""
    before = configuration.conf(settings).read_text()
    took: dict[str, float] = {}

    @contextlib.contextmanager
    def timed(what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        took[what] = round(time.monotonic() - began, 3)
        if not quiet:
            print(f"  {what:<12} {took[what]:6.2f} s", flush=True)

    async with substitute(settings), connected(settings) as bus:
        await _services(settings, bus, timed)
    async with substitute(settings):
        try:
            with timed("supervisord"):
                await _supervisor(settings)
        except CribusError as error:
            await _back(settings, before)
            raise FailedPrecondition(f"supervisord does not come up in its new version: {error.message}") from error
    async with connected(settings) as bus:
        with timed("shims"):
            await _shims(settings, bus)
    return took


@contextlib.asynccontextmanager
async def substitute(settings: Settings) -> AsyncIterator[None]:
    """While inside, a gateway of our own answers too: callers wait there while the node's are replaced.

    With streams at a fixed port there is none, because two cannot listen at one.
    """
    if not settings.gateway.streaming.endswith(":0"):
        yield
        return
    before = _inode(settings)
    process = _gateway(settings)
    try:
        await _until(lambda: _inode(settings) != before or process.poll() is not None, "a gateway of the new version")
        if process.returncode is not None:
            raise FailedPrecondition(f"the new version does not start: {configuration.logs(settings)}/upgrade.log")
        ours = _inode(settings)
        try:
            yield
        finally:
            if _inode(settings) == ours:  # the node's own was not replaced: nobody would find it any more
                await _one(settings, None, "gateway")
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)


def _gateway(settings: Settings) -> "subprocess.Popen[bytes]":
    """It takes the socket over, and ends with us."""
    with open(configuration.logs(settings) / "upgrade.log", "ab") as log:
        argv = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "cribus.gateway"]
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")


async def _services(settings: Settings, bus: Bus, timed: Timed) -> None:
    """One after another; when one fails, it and all before it are put back."""
    before, done = configuration.conf(settings).read_text(), []
    up.prepare(settings)
    try:
        for name in configuration.services(settings):
            done.append(name)
            with timed(name):
                await _one(settings, bus, name)
    except CribusError as error:
        reason = readiness.explained(settings, [name])
        configuration.write(settings, before)
        for old in reversed(done):
            await _one(settings, bus, old)
        told = f"{name} does not answer in its new version ({error.message}); all are as they were.\n{reason}"
        raise FailedPrecondition(told) from error


async def _one(settings: Settings, bus: Bus | None, name: str) -> None:
    """Replace one service and wait until its successor answers. Raises DeadlineExceeded."""
    inode = _inode(settings)
    await replace.replace(settings, name)
    try:
        async with asyncio.timeout(READY):
            await _runs(settings, name)
            if bus is None or name == "gateway":
                await _until(lambda: _inode(settings) != inode, "the new gateway's socket")
            elif name == "nats":
                await bus.connection.while_up(bus.connection.nats.flush, READY)
            else:
                await readiness.answers(bus, *_QUESTIONS[name])
    except TimeoutError as error:
        raise DeadlineExceeded(f"no answer within {READY:g} s") from error


async def _runs(settings: Settings, name: str) -> None:
    """Wait until it has a process. Raises FailedPrecondition when it ends again and again."""
    while not replace.pid(settings, name):
        if control.ask(settings, "supervisor.getProcessInfo", name)["statename"] in ("BACKOFF", "FATAL"):
            raise FailedPrecondition("it ends as soon as it starts")
        await pause(_RETRY)


async def _supervisor(settings: Settings) -> None:
    """supervisord and its guard: they end with the services, in order, and start anew."""
    if _by_systemd(settings):
        process = await asyncio.create_subprocess_exec("systemctl", "restart", _UNIT)
        if await process.wait():
            raise FailedPrecondition(f"systemctl restart {_UNIT} fails; `systemctl status {_UNIT}` says why")
    else:
        await asyncio.to_thread(down.stop, settings)
        up.guard(settings)
    await readiness.ready(settings, READY)


def _by_systemd(settings: Settings) -> bool:
    """Whether systemd started this node's guard."""
    if not os.path.isdir("/run/systemd/system") or config.path() != config.DEFAULT_PATH:
        return False
    return subprocess.run(["systemctl", "is-active", "--quiet", _UNIT], check=False).returncode == 0


async def _back(settings: Settings, before: str) -> None:
    """Start the node by its old configuration."""
    configuration.write(settings, before)
    up.guard(settings, replace.interpreter(before))
    await readiness.ready(settings, READY)


async def _shims(settings: Settings, bus: Bus) -> None:
    """Each is told to go, and goes when nobody waits for it; shimd starts its successor."""
    for pod, pid in (await bus.call(shimd.LIST_SHIMS, Empty())).pids.items():
        if not await asyncio.to_thread(_gone, pod, pid):
            raise DeadlineExceeded(f"shim {pid} of pod {pod} does not go; kill -9 it, another takes over")
        try:
            async with asyncio.timeout(READY):
                while (await bus.call(shimd.LIST_SHIMS, Empty())).pids.get(pod) in (None, pid) and _wanted(
                    settings, pod
                ):
                    await pause(_RETRY)
        except TimeoutError as error:
            raise DeadlineExceeded(f"pod {pod} gets no new shim; the log of shimd says why") from error


def _wanted(settings: Settings, pod: str) -> bool:
    """Whether the pod is still there: it may have been stopped meanwhile."""
    return Path(settings.run, "pods", pod, "shim.json").exists()


def _gone(pod: str, pid: int) -> bool:
    """Tell a shim to go; whether it has gone. One that went by itself is no error."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        # read after the descriptor was opened: if it is this pod's shim now, the descriptor is that shim
        if Path(f"/proc/{pid}/comm").read_text().strip() != f"shim:{pod[:10]}":
            return True
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        with select.epoll() as poll:
            poll.register(descriptor, select.EPOLLIN)
            return bool(poll.poll(READY))
    except (FileNotFoundError, ProcessLookupError):
        return True
    finally:
        os.close(descriptor)


async def _until(true: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(READY):
            while not true():
                await pause(_RETRY)
    except TimeoutError as error:
        raise DeadlineExceeded(f"{what} is not there within {READY:g} s") from error


def _inode(settings: Settings) -> int:
    """Of the socket that callers find; another gateway that takes over has another."""
    try:
        return os.stat(settings.gateway.socket).st_ino
    except FileNotFoundError:
        return 0


def switch(before: str) -> str:
    """Let the `cribus` on PATH be this environment's, if it was that of the Python `before`; which link it is."""
    link = shutil.which("cribus")
    ours = Path(sys.executable).parent / "cribus"
    old = Path(before).parent / "cribus"
    if not link or not os.path.islink(link) or Path(os.readlink(link)) != old or old == ours or not ours.exists():
        return ""
    temporary = f"{link}.{os.getpid()}"
    os.symlink(ours, temporary)
    os.rename(temporary, link)
    return link
