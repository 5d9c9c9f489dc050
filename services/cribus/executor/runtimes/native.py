"""The built-in runtime: a keeper and an init, forked; no other program."""

import asyncio
import contextlib
import logging
import os
from contextlib import ExitStack
from typing import Any

from cribus import errors
from cribus.executor import ending, hooks, keepers, netdevices, waiting
from cribus.executor.child import failure
from cribus.executor.node import Held, Node
from cribus.executor.plan import build, devices, fields
from cribus.executor.plan import hooks as planned
from cribus.executor.plan.build import Plan
from cribus.executor.runtimes import keep
from cribus.executor.runtimes.runtime import Known, Made
from cribus.executor.state import FIFO, Record
from cribus.linux import process
from cribus.oci import validate
from cribus.steps import Step

_logger = logging.getLogger(__name__)
_INIT = "cribus.executor.child.init:main"
_CGROUP = Step("executor.create.cgroup")
_LIMITS = Step("executor.create.limits")
_DEVICES = Step("executor.create.devices")
_LET = Step("executor.start.let-go")


class Native:
    """Runtime (runtime.py) by system calls alone."""

    async def create(self, node: Node, record: Record, spec: dict[str, Any], known: Known) -> Made:
        """Fork keeper and init, and wait until init is ready to be started.

        Raises what init could not do, or DeadlineExceeded when something in it hangs.
        """
        bundle = node.bundle(record.container)
        validate.validate(spec)
        place = build.Place(bundle, record.cgroup, node.tree.join_self_paths(record.cgroup))
        plan = build.build(spec, place, node.host)
        with _CGROUP.of(record.container):
            node.tree.create(record.cgroup)
        with _LIMITS.of(record.container):
            node.tree.apply(record.cgroup, resources(spec))
        ignored = [*plan.warnings, *unset(node, record, spec)]
        os.makedirs(f"{bundle}/rootfs", exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(f"{bundle}/{FIFO}", 0o600)
        made = await _fork(node, record, (spec, plan), known)
        made = made._replace(warnings=[*ignored, *made.warnings])
        if node.tree.driver == "systemd":
            await asyncio.to_thread(node.tree.register, record.cgroup, made.pid)
        return made

    async def start(self, node: Node, record: Record) -> None:
        """Raises what the kernel said when the program cannot be executed."""
        await start(await keepers.held(node, record.container), node.bundle(record.container))

    async def signal(self, node: Node, record: Record, number: int) -> None:
        ending.signal(record.pid, record.started, number)

    async def pause(self, node: Node, record: Record) -> None:
        await asyncio.to_thread(node.tree.freeze, record.cgroup)

    async def resume(self, node: Node, record: Record) -> None:
        await asyncio.to_thread(node.tree.thaw, record.cgroup)

    async def update(self, node: Node, record: Record, resources: dict[str, Any]) -> None:
        for text in node.tree.ignored(record.cgroup, resources):
            _logger.warning("container changed with less", extra={"container": record.container, "cause": text})
        await asyncio.to_thread(node.tree.change, record.cgroup, resources)

    async def clear(self, node: Node, record: Record) -> None:
        """Keeper, cgroup and directory, which every runtime has, are all that there is."""


def unset(node: Node, record: Record, spec: dict[str, Any]) -> list[str]:
    """What of its cgroup's settings has no effect, a sentence each."""
    return [*node.tree.ignored(record.cgroup, resources(spec)), *fields.of_unit(spec, node.tree.driver)]


def resources(spec: dict[str, Any]) -> dict[str, Any]:
    """The limits of a container's cgroup."""
    given = (spec.get("linux") or {}).get("resources") or {}
    terminal = bool((spec.get("process") or {}).get("terminal"))
    return {**given, "devices": devices.allowed(given.get("devices") or [], terminal=terminal)}


async def _fork(node: Node, record: Record, what: tuple[dict[str, Any], Plan], known: Known) -> Made:
    bundle = node.bundle(record.container)
    spec, plan = what
    with ExitStack() as after:
        sync, sync_write = os.pipe()
        after.callback(os.close, sync)
        with ExitStack() as stack:  # what is ours for longer would hide the other side's end
            stack.callback(os.close, sync_write)
            kept = await keep.begin(node, bundle, _wanted(stack, bundle, what, (sync, sync_write)))
        after.callback(os.close, kept.pidfd)
        known(kept.pid, kept.keeper)
        warnings = []
        if plan.init["hooks"]:
            warnings = await _halfway(node, record, spec, (kept.pid, Held(kept.pidfd, sync)))
        warnings += await _ready(Held(kept.pidfd, sync))
        after.pop_all()
        return Made(kept.pid, kept.keeper, Held(kept.pidfd, sync), warnings)


def _wanted(stack: ExitStack, bundle: str, what: tuple[dict[str, Any], Plan], pipe: tuple[int, int]) -> keep.Wanted:
    spec, plan = what
    sync, sync_write = pipe
    fifo = os.open(f"{bundle}/{FIFO}", os.O_RDWR | os.O_CLOEXEC)
    stack.callback(os.close, fifo)
    terminal = plan.init["process"]["terminal"]
    three = [] if terminal else keep.streams(stack, stdin=keep.wants_stdin(spec))
    pidns = -1
    if plan.pidns:
        pidns = os.open(plan.pidns, os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, pidns)
    init = {"main": _INIT, "request": plan.init, "flags": plan.flags, "link": terminal}
    return keep.Wanted(init, three, [fifo, sync_write], {"sync": sync}, pidns)


async def _ready(held: Held) -> list[str]:
    """Wait for init; its warnings."""
    warnings, _, ready = failure.read(await _said(held, b"ready"))
    if not ready:
        raise errors.Aborted("the container's first process was killed while it was set up; repeat")
    return warnings


async def _said(held: Held, word: bytes) -> str:
    """What init says, up to that word or its end. Raises what it could not do."""
    try:
        said = await waiting.text(held.sync, keep.DEADLINE, word)
    except TimeoutError as error:
        process.pidfd_send_signal(held.pidfd, 9)
        raise errors.DeadlineExceeded(
            f"the container was not set up within {keep.DEADLINE:g} s; a mount or a hook of it may hang"
        ) from error
    refused = failure.read(said)[1]
    if refused:
        raise errors.from_code(*refused)
    return said


async def _halfway(node: Node, record: Record, spec: dict[str, Any], init: tuple[int, Held]) -> list[str]:
    """Everything is mounted and init waits: give it its network devices, run the host's hooks, then tell it the pid
    that they were told. Its warnings."""
    pid, held = init
    warnings = failure.read(await _said(held, b"halfway"))[0]
    bundle = node.bundle(record.container)
    devices = build.net_devices(spec)
    if devices:
        with _DEVICES.of(record.container):
            await _moved(devices, held.pidfd, f"{bundle}/netdevice")
    state = {**planned.base(spec, record.container, bundle), "status": "creating", "pid": pid}
    await hooks.run(node, planned.of(spec, *planned.BEFORE), state)
    try:
        fd = os.open(f"{bundle}/{FIFO}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:  # nobody waits there
        raise errors.Aborted("the container's first process was killed while it was set up; repeat") from error
    try:
        os.write(fd, b"%d\n" % pid)
    finally:
        os.close(fd)
    return warnings


async def _moved(devices: dict[str, Any], pidfd: int, note: str) -> None:
    try:
        await asyncio.to_thread(netdevices.move, devices, pidfd, note)
    except ProcessLookupError as error:
        raise errors.Aborted("the container's first process was killed while it was set up; repeat") from error


async def start(held: Held, bundle: str) -> None:
    """Let init go on, and wait for its exec. Raises what it could not do."""
    try:
        fd = os.open(f"{bundle}/{FIFO}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        fd = -1  # nobody waits there: it was started before, and only its answer was lost
    if fd >= 0:
        with _LET.of(bundle[-64:]):
            os.write(fd, b"s")
            os.close(fd)
    try:
        said = await waiting.text(held.sync, keep.DEADLINE)
    except TimeoutError as error:
        raise errors.DeadlineExceeded("the container's program was not executed in time; its file may hang") from error
    refused = failure.read(said)[1]
    if refused:
        await waiting.readable(held.pidfd, 5.0)
        raise errors.from_code(*refused)
