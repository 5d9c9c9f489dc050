"""create: everything up to the barrier."""

import contextlib
import os
import select
import socket
from contextlib import ExitStack
from typing import Any

from cribus import errors
from cribus.executor.child import failure, init
from cribus.executor.plan import build, devices, fields, hooks, host
from cribus.executor.runc_cli import control, forks, hosthooks, log, options, users
from cribus.executor.runc_cli.box import Box
from cribus.executor.runc_cli.options import Line
from cribus.linux import process
from cribus.oci.validate import validate


def create(box: Box, line: Line) -> int:
    """Up to the barrier; init's parent is then whoever is the reaper of orphans. Raises what went wrong, and
    leaves nothing then."""
    bundle = os.path.realpath(line.given.get("bundle") or ".")
    spec = box.make(bundle, bool(line.general.get("systemd-cgroup")))
    try:
        validate(spec)
        with users.owned(spec) as made:
            pid = _fork(box, made, line)
        forks.write_pid(line.given.get("pid-file") or "", pid)
    except BaseException:
        control.destroy(box)
        raise
    return 0


def _fork(box: Box, spec: dict[str, Any], line: Line) -> int:
    known, tree = box.known(), box.tree()
    place = build.Place(known["bundle"], known["cgroup"], tree.join_self_paths(known["cgroup"]), box.id)
    plan = build.build(spec, place, host.look())
    terminal = plan.init["process"]["terminal"]
    if terminal and not line.given.get("console-socket"):
        raise errors.InvalidArgument("process.terminal wants --console-socket, or `run` without --detach")
    tree.create(known["cgroup"])
    given = (spec.get("linux") or {}).get("resources") or {}
    tree.apply(known["cgroup"], {**given, "devices": devices.allowed(given.get("devices") or [], terminal=terminal)})
    unset = [*tree.ignored(known["cgroup"], given), *fields.of_unit(spec, tree.driver)]
    log.warn(line.general, [*options.ignored(line), *plan.warnings, *unset])
    with ExitStack() as stack:
        fifo, sync, written = _ends(stack, box)
        link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stack.enter_context(link)
        stack.enter_context(theirs)
        fds = [fifo, written, theirs.fileno()] if terminal else [0, 1, 2, fifo, written]
        pid = forks.fork(init.main, (plan.init, fds), (plan.flags, plan.pidns))
        os.close(written)
        theirs.close()
        box.save({**known, "pid": pid, "started": process.start_time(pid)})
        if plan.init["hooks"]:
            log.warn(line.general, failure.read(forks.said(sync, b"halfway"))[0])
            _network_devices(box, spec, pid)
            hosthooks.run(box, hooks.BEFORE, "creating")
            os.write(fifo, b"%d\n" % pid)
        log.warn(line.general, _ready(forks.said(sync, b"ready")))
        if terminal:
            _console(line.given["console-socket"], link)
    if tree.driver == "systemd":
        tree.register(known["cgroup"], pid)
    return pid


def _network_devices(box: Box, spec: dict[str, Any], pid: int) -> None:
    devices = build.net_devices(spec)
    if devices:
        from cribus.executor import netdevices  # few containers have any

        pidfd = process.pidfd_open(pid)
        try:
            netdevices.move(devices, pidfd, f"{box.path}/netdevice")
        finally:
            os.close(pidfd)


def _ends(stack: ExitStack, box: Box) -> tuple[int, int, int]:
    """(the barrier, our end of the error pipe, init's end, which whoever forks closes)."""
    fifo = os.open(f"{box.path}/start", os.O_RDWR | os.O_CLOEXEC)
    sync = os.open(f"{box.path}/sync", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    written = os.open(f"{box.path}/sync", os.O_WRONLY | os.O_CLOEXEC)
    for fd in (fifo, sync):
        stack.callback(os.close, fd)
    return fifo, sync, written


def _ready(said: str) -> list[str]:
    """Its warnings."""
    warnings, _, ready = failure.read(said)
    if not ready:
        raise errors.Internal("the container's first process died while it was set up; it was killed from outside")
    return warnings


def _console(path: str, link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        select.select([link], [], [], 10)
    master = forks.master(link)
    if master < 0:
        raise errors.Internal("the container's terminal was not made")
    try:
        forks.hand_over(path, master)
    finally:
        os.close(master)
