"""Containers whose run directory was emptied, or lost a part: found by their keepers, which live.

A keeper's working directory says whose it is, its descriptors say which process is init, and what is kept
on disk (kept.py) says how the container was made. From these the directory is made again; then the keeper
is told to listen there.
"""

import asyncio
import json
import logging
import os
import signal
import time
from typing import Any

from cribus.api.executor import HANDLER, POD
from cribus.api.shim import GOING
from cribus.errors import CribusError, Internal, NotFound
from cribus.executor import keepers, state, waiting
from cribus.executor.node import Node
from cribus.executor.plan import hooks as planned
from cribus.executor.runtimes import command
from cribus.executor.state import Record
from cribus.keeper import ANEW, EXIT, SOCKET
from cribus.kept import whole
from cribus.linux import files, inotify, process

_PATIENCE = 5.0  # seconds until a keeper listens; it does nothing that takes long
_TICK = 10**9 // os.sysconf("SC_CLK_TCK")  # ns
_logger = logging.getLogger(__name__)


def living(node: Node) -> dict[str, int]:
    """The keeper of each container that has one, by its pid."""
    found = {}
    for pid in process.named("keeper"):
        folder, _, container = process.home(pid).rpartition("/")
        if folder == os.path.dirname(node.bundle(container)):
            found[container] = pid
    return found


async def restore_all(node: Node) -> None:
    """Every container that has a keeper but not all of its files."""
    lost = {container: pid for container, pid in living(node).items() if not _complete(node, container)}
    if not lost:
        return
    await asyncio.gather(*(_restored(node, container, pid) for container, pid in lost.items()))


async def known(node: Node, container: str) -> Record:
    """A container's record. Raises NotFound when there is none, and no keeper."""
    record = state.load(node.bundle(container)) or await restore(node, container)
    if record is None:
        raise NotFound(f"container {container} is not known to the executor; create it first")
    return record


async def restore(node: Node, container: str) -> Record | None:
    """The same for one of which nothing is known; None when it has no keeper."""
    pid = living(node).get(container)
    if pid is not None:
        await _restored(node, container, pid)
    return state.load(node.bundle(container))


def _complete(node: Node, container: str) -> bool:
    bundle = node.bundle(container)
    record = _written(bundle)
    if record is None or not whole(_read(f"{bundle}/config.json")):
        return False
    if record.started_at and not os.path.exists(f"{bundle}/{GOING}"):
        return False
    if record.ready and not state.alive(record) and not whole(_read(f"{bundle}/{EXIT}")):
        return False
    return os.path.exists(f"{bundle}/{SOCKET}")


def _written(bundle: str) -> Record | None:
    """What is written down, if it is enough: of one that was not started the fifo of its barrier must be there."""
    record = state.load(bundle)
    if record is not None and record.ready and not (record.started_at or record.runtime):
        return record if os.path.exists(f"{bundle}/{state.FIFO}") else None
    return record


async def _restored(node: Node, container: str, pid: int) -> None:
    _logger.warning("its run directory was lost: made again", extra={"container": container, "keeper": pid})
    try:
        await _restore(node, container, pid)
    except (OSError, CribusError, TimeoutError) as error:
        _logger.error("a container that runs is not found again", extra={"container": container, "cause": str(error)})


async def _restore(node: Node, container: str, keeper: int) -> None:
    bundle = node.bundle(container)
    os.makedirs(bundle, 0o711, exist_ok=True)
    spec = node.kept.spec(container)
    if spec and not whole(_read(f"{bundle}/config.json")):
        files.write_atomic(f"{bundle}/config.json", spec, 0o600)
    await _listening(bundle, keeper)
    held = await keepers.get(bundle)
    if "pidfd" not in held:
        raise Internal(f"keeper {keeper} does not answer")
    try:
        record = _written(bundle) or _again(node, container, keeper, process.pid_of(held["pidfd"]))
        if record.started_at:
            state.allow(bundle, record)
        state.save(bundle, record)
    finally:
        for fd in held.values():
            os.close(fd)


async def _listening(bundle: str, keeper: int) -> None:
    """Let the keeper listen in this directory. Raises TimeoutError, ProcessLookupError."""
    watch = inotify.init()
    pidfd = process.pidfd_open(keeper)
    try:
        inotify.add_watch(watch, bundle, inotify.IN_MOVED_TO | inotify.IN_ONLYDIR)
        for number in (ANEW, signal.SIGCONT):  # no watch of stopped ones looks where no directory is
            process.pidfd_send_signal(pidfd, number)
        end = time.monotonic() + _PATIENCE
        while SOCKET not in [name for _, _, name in inotify.read(watch)]:
            if not await waiting.readable(watch, end - time.monotonic()):
                raise TimeoutError(f"keeper {keeper} does not listen anew")
    finally:
        os.close(watch)
        os.close(pidfd)


def _again(node: Node, container: str, keeper: int, pid: int) -> Record:
    """What the record must have been. Without a runtime-spec its cgroup is known, to end what is in it."""
    bundle = node.bundle(container)
    spec: dict[str, Any] = json.loads(whole(_read(f"{bundle}/config.json")) or b"{}")
    marks = spec.get("annotations") or {}
    runtime = command.program(node, marks.get(HANDLER, ""))
    pid = max(0, pid)
    begun = _begun(pid) if pid else 0
    return Record(
        container=container,
        pod=marks.get(POD, ""),
        handler=marks.get(HANDLER, ""),
        runtime=runtime,
        hooks=[] if runtime else planned.later(spec),
        cgroup=node.tree.spec_path((spec.get("linux") or {}).get("cgroupsPath", ""), container),
        created_at=begun,
        started_at=begun if pid and _executed(pid) else _ended(bundle),
        ready=not pid or _executed(pid),
        pid=pid,
        started=process.start_time(pid),
        keeper=keeper,
        keeper_started=process.start_time(keeper),
    )


def _executed(pid: int) -> bool:
    """Whether init is beyond its barrier, whose fifo it has open until then."""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}").removesuffix(" (deleted)")
        except FileNotFoundError:
            continue
        if os.path.basename(target) in (state.FIFO, "exec.fifo"):
            return False
    return True


def _begun(pid: int) -> int:
    """When the process started, in ns since the epoch."""
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME) + process.start_time(pid) * _TICK


def _ended(bundle: str) -> int:
    """When it ended, of one of which nobody knows any more when it began."""
    return int(json.loads(whole(_read(f"{bundle}/{EXIT}")) or b"{}").get("at", 0))


def _read(path: str) -> bytes:
    try:
        return files.read(path)
    except FileNotFoundError:
        return b""
