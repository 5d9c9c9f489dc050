"""A container's state: what was written down and what the kernel says. The kernel wins.

`state.json` in the run directory is replaced by rename. What it says of the life of a process counts
only when pid and start time both match.
"""

import contextlib
import functools
import json
import os
import time
from typing import Any

import msgspec

from cribus.api.executor import State, States
from cribus.api.shim import GOING
from cribus.cgroups import oom
from cribus.errors import NotFound
from cribus.executor.node import Node
from cribus.keeper import EXIT
from cribus.linux import files, process
from cribus.staging import Staging

FIFO = "start"
FILE = "state.json"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is written down of a container; `ready` once it has been created completely."""

    container: str
    pod: str = ""
    handler: str = ""
    runtime: list[str] = []  # an outside runtime's program and its arguments; empty: the built-in one
    restore: str = ""  # folder of the checkpoint that it comes from
    hooks: list[str] = []  # kinds that the executor runs after the creation
    cgroup: str = ""
    created_at: int = 0
    started_at: int = 0
    ready: bool = False
    pid: int = 0
    started: int = 0  # start time of pid, in ticks
    keeper: int = 0
    keeper_started: int = 0


def load(bundle: str) -> Record | None:
    """The record of a run directory, None when there is none."""
    try:
        return msgspec.json.decode(files.read(f"{bundle}/{FILE}"), type=Record)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


@functools.cache
def _files(run: str) -> Staging:
    return Staging(run)


def claim(run: str) -> None:
    """From here on no executor before us writes down anything. Raises OSError."""
    _files(run).claim()


def save(bundle: str, record: Record) -> None:
    """Raises OSError, FileNotFoundError when the container's run directory is gone."""
    _files(os.path.dirname(os.path.dirname(bundle))).write(f"{bundle}/{FILE}", msgspec.json.encode(record), 0o644)


def changed(bundle: str, record: Record, **fields: Any) -> Record:
    """The record with these fields, written."""
    new = msgspec.structs.replace(record, **fields)
    save(bundle, new)
    return new


def exit_of(node: Node, container: str) -> dict[str, int]:
    """The exit that a witness saw: {"code", "signal", "at"}, or {}.

    The keeper writes it. Where the keeper was killed, the kernel still tells who holds a pidfd, of one
    that nobody has reaped too, and the executor writes it down in the keeper's place.
    """
    bundle = node.bundle(container)
    with contextlib.suppress(FileNotFoundError, ValueError):
        found: dict[str, int] = json.loads(files.read(f"{bundle}/{EXIT}"))
        return found
    held = node.held.get(container)
    return seen_by(bundle, held.pidfd) if held else {}


def seen_by(bundle: str, pidfd: int) -> dict[str, int]:
    """How this init ended, of which the kernel tells whoever has a pidfd, written down; {} while it does not."""
    for look in (process.pidfd_exit, process.zombie_exit, process.pidfd_exit):  # it may be reaped between two looks
        if (status := look(pidfd)) is not None:
            return _noted(bundle, status)
    return {}


def _noted(bundle: str, status: int) -> dict[str, int]:
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    seen = {"code": 128 + number if number else os.WEXITSTATUS(status), "signal": number, "at": time.time_ns()}
    files.write_atomic(f"{bundle}/{EXIT}", json.dumps(seen).encode())
    return seen


def orphaned(node: Node, pid: int, started: int, status: int) -> None:
    """An orphan was reaped. If it was init of a container whose keeper was killed, nobody else saw its end."""
    for container in names(node):
        bundle = node.bundle(container)
        record = load(bundle)
        if record is not None and (record.pid, record.started) == (pid, started):
            if not os.path.exists(f"{bundle}/{EXIT}"):
                _noted(bundle, status)
            return


def alive(record: Record) -> bool:
    """Whether init lives."""
    return process.is_running(record.pid, record.started)


def allow(bundle: str, record: Record) -> None:
    """Say that init may execute the program from now on. Raises OSError."""
    files.write_at(files.AT_FDCWD, f"{bundle}/{GOING}", str(record.pid).encode())


def may_have_run(bundle: str) -> bool:
    """Whether init was, or was just going to be, allowed to execute the program."""
    return os.path.exists(f"{bundle}/{GOING}")


def _allowed_at(bundle: str) -> int:
    """When that was, in ns since the epoch: near enough to a start that nobody came to write down; else 0."""
    try:
        return os.stat(f"{bundle}/{GOING}").st_mtime_ns
    except FileNotFoundError:
        return 0


def at_barrier(bundle: str) -> bool:
    """Whether init still waits to be started: then it has the fifo open."""
    try:
        os.close(os.open(f"{bundle}/{FIFO}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _waits(node: Node, record: Record) -> bool:
    """Whether a container of ours has not been let go on: what came back from a checkpoint is stopped until then."""
    if record.restore:
        return process.state(record.pid) in ("T", "t")
    return at_barrier(node.bundle(record.container))


def read(node: Node, container: str) -> State:
    """What is true now. Raises NotFound when there is no such container."""
    bundle = node.bundle(container)
    record = load(bundle)
    if record is None:
        raise NotFound(f"container {container} is not known to the executor; it was deleted or never created")
    status = _status(node, record)
    seen = exit_of(node, container) if status == "stopped" else {}
    return State(
        container=container,
        pod=record.pod,
        status=status,
        pid=record.pid,
        created_at=record.created_at,
        started_at=record.started_at or (_allowed_at(bundle) if status == "stopped" else 0),
        exited_at=seen.get("at", 0),
        exit_code=seen.get("code", 0),
        exit_known=bool(seen),
        oom=status == "stopped" and oom.killed(record.cgroup),
        bundle=bundle,
        cgroup=record.cgroup,
    )


def _status(node: Node, record: Record) -> str:
    if not alive(record):
        return "stopped" if record.ready else "creating"
    if not record.ready:
        return "creating"
    if not record.started_at and (record.runtime or _waits(node, record)):
        return "created"
    return "paused" if node.tree.frozen(record.cgroup) else "running"


def every(node: Node) -> States:
    """All containers and pods that have a run directory."""
    containers = []
    for id in names(node):
        with contextlib.suppress(NotFound):  # not created yet, or deleted meanwhile
            containers.append(read(node, id))
    pods = files.listed(f"{node.run}/pods")
    return States(containers=containers, pods=pods, dead=[pod for pod in pods if not mounted(node, pod)])


def mounted(node: Node, pod: str) -> bool:
    """Whether the pod's shared memory, which each has, is mounted: a run directory on a disk outlives a boot."""
    folder = node.pod(pod)
    try:
        return os.stat(f"{folder}/shm").st_dev != os.stat(folder).st_dev
    except FileNotFoundError:
        return False


def names(node: Node) -> list[str]:
    """Containers that have a run directory."""
    return files.listed(f"{node.run}/containers")
