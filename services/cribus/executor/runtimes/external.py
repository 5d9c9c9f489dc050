"""Any outside runtime with runc's command line, by configuration.

The keeper runs its `create` and takes over the init that it leaves (keeper.py), so that streams, log,
exit code and all that survives a kill are as with the built-in runtime. The pod's namespaces are ours
and joined by path; the root filesystem is mounted before.
"""

import asyncio
import contextlib
import functools
import json
import logging
import os
import shutil
from contextlib import ExitStack
from typing import Any

from cribus import errors
from cribus.executor import children, ending, keepers, state
from cribus.executor.node import Held, Node
from cribus.executor.runtimes import bundle, command, keep
from cribus.executor.runtimes.console import Console
from cribus.executor.runtimes.runtime import Known, Made
from cribus.executor.state import Record
from cribus.linux import files, mount

_PROGRAM = "cribus.executor.child.program:main"
_ROOTFS = "cribus.executor.child.rootfs:main"
_PID = "pid"
_logger = logging.getLogger(__name__)


class External:
    """Runtime (runtime.py) by an outside program, which the record names."""

    async def create(self, node: Node, record: Record, spec: dict[str, Any], known: Known) -> Made:
        """Mount, write the bundle, run the runtime's create under a keeper; until that ends init is not known.

        Raises what the runtime says, or DeadlineExceeded.
        """
        where, rootfs = command.home(node, record.container), f"{node.bundle(record.container)}/rootfs"
        for folder in (rootfs, f"{where}/root"):
            os.makedirs(folder, exist_ok=True)
        child = await children.begin(functools.partial(node.server.run, _ROOTFS), bundle.rootfs(spec, rootfs))
        await child.ready("the container's root filesystem was")
        adapted = bundle.adapted(spec, rootfs, _hostname(node, record))
        files.write_atomic(f"{where}/config.json", json.dumps(adapted).encode(), 0o600)
        try:
            return await _fork(node, record, spec)
        except TimeoutError as error:
            raise command.hung(record, "create", keep.DEADLINE) from error

    async def start(self, node: Node, record: Record) -> None:
        """A repeat, after its first answer was lost, is content with what runs."""
        try:
            await command.run(node, record, ["start", record.container])
        except errors.CribusError:
            if await status(node, record) != "running":
                raise

    async def signal(self, node: Node, record: Record, number: int) -> None:
        """By the runtime: only it knows which process stands for the container. Where what it knew went with
        the run directory, it is init."""
        if not files.listed(f"{command.home(node, record.container)}/root"):
            ending.signal(record.pid, record.started, number)
            return
        try:
            await command.run(node, record, ["kill", record.container, str(number)])
        except errors.CribusError:
            if state.alive(record):
                raise

    async def pause(self, node: Node, record: Record) -> None:
        await command.run(node, record, ["pause", record.container])

    async def resume(self, node: Node, record: Record) -> None:
        await command.run(node, record, ["resume", record.container])

    async def update(self, node: Node, record: Record, resources: dict[str, Any]) -> None:
        asked = json.dumps(resources).encode()
        await command.run(node, record, ["update", "--resources", "-", record.container], asked)

    async def clear(self, node: Node, record: Record) -> None:
        """The runtime's own traces first; where it is gone or fails, its directory goes all the same."""
        where = command.home(node, record.container)
        if files.listed(f"{where}/root"):
            await _delete(node, record)
        await asyncio.to_thread(_unmount, node.bundle(record.container))
        with contextlib.suppress(FileNotFoundError):
            await asyncio.to_thread(shutil.rmtree, where)


async def status(node: Node, record: Record) -> str:
    """What the runtime says of the container. Raises what it says when it does not know it."""
    text = await command.run(node, record, ["state", record.container])
    try:
        return str(json.loads(text)["status"])
    except (ValueError, KeyError, TypeError) as error:
        raise errors.Internal(f"{record.runtime[0]} state does not answer as runtimes do: {text[:200]}") from error


async def _delete(node: Node, record: Record) -> None:
    """By force only what the runtime does not take for ended: runc then waits a tenth of a second. One that hangs
    is not asked again. Either way its processes are dead, and its cgroup is ours to remove."""
    try:
        await command.run(node, record, ["delete", record.container])
        return
    except errors.DeadlineExceeded as error:
        failed: errors.CribusError = error
    except errors.CribusError:
        try:
            await command.run(node, record, ["delete", "--force", record.container])
            return
        except errors.CribusError as error:
            failed = error
    _logger.warning("not deleted by its runtime", extra=_ids(record, failed))


def _ids(record: Record, error: errors.CribusError) -> dict[str, str]:
    return {"container": record.container, "cause": error.message}


def _hostname(node: Node, record: Record) -> str:
    """As the manager wrote it down for the pod."""
    try:
        return files.read(f"{node.pod(record.pod)}/hostname").decode().strip()
    except FileNotFoundError:
        return ""


def _unmount(folder: str) -> None:
    """The root filesystem, and what the runtime has mounted beside it."""
    found = [line.split(" ")[4] for line in files.read("/proc/self/mountinfo").decode().splitlines()]
    for path in sorted((one for one in found if one.startswith(f"{folder}/")), reverse=True):
        mount.detach(path)


async def _fork(node: Node, record: Record, spec: dict[str, Any]) -> Made:
    where = command.home(node, record.container)
    terminal = bool((spec.get("process") or {}).get("terminal"))
    words = ["create", "--bundle", where, "--pid-file", f"{where}/{_PID}"]
    with ExitStack() as stack:
        console = Console(stack, where) if terminal else None
        if console is not None:
            words += ["--console-socket", console.path]
        three = _streams(stack) if terminal else keep.streams(stack, stdin=keep.wants_stdin(spec))
        made = command.line(node, record, [*words, record.container])
        init = {"main": _PROGRAM, "request": made._asdict() | {"stdin": None}, "flags": 0, "link": False}
        wanted = keep.Wanted({**init, "orphan": f"{where}/{_PID}"}, three, [], {})
        try:
            kept = await keep.begin(node, node.bundle(record.container), wanted)
        except keep.Refused as error:
            text = command.said(f"{where}/{command.LOG}") or _rest(three[2][1]) or error.message
            raise command.refused(record, "create", text) from error
        stack.callback(os.close, kept.pidfd)
        if console is not None:
            await _hand_over(node, record, console)
        return Made(kept.pid, kept.keeper, Held(os.dup(kept.pidfd), -1), [])


def _streams(stack: ExitStack) -> list[tuple[int, int]]:
    """Of a runtime whose container has a terminal instead: only its complaints are heard."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    read, write = os.pipe()
    for fd in (null, read, write):
        stack.callback(os.close, fd)
    return [(null, -1), (null, -1), (write, read)]


def _rest(fd: int) -> str:
    os.set_blocking(fd, False)
    try:
        lines = os.read(fd, 65536).decode(errors="replace").splitlines()
    except BlockingIOError:
        return ""
    return lines[-1] if lines else ""


async def _hand_over(node: Node, record: Record, terminal: Console) -> None:
    """The master goes to the keeper, as if init had sent it there."""
    master = await terminal.master(keep.DEADLINE)
    try:
        if not await keepers.put(node.bundle(record.container), "console", master):
            raise errors.Internal("the keeper died before it had the container's terminal; repeat")
    finally:
        os.close(master)
