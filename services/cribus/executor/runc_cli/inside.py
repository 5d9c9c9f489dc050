"""exec: a further process in a running container."""

import json
import os
import socket
from contextlib import ExitStack
from typing import Any

from cribus import errors
from cribus.executor.child import exec as child
from cribus.executor.plan import build, fields, host
from cribus.executor.plan import exec as planned
from cribus.executor.plan import process as processes
from cribus.executor.runc_cli import forks, log, options
from cribus.executor.runc_cli.box import Box
from cribus.executor.runc_cli.options import Line
from cribus.linux import process
from cribus.oci import validate
from cribus.oci.runtime_spec import Process

_SETS = ("bounding", "effective", "permitted")


def run(box: Box, line: Line) -> int:
    """Its exit code, or 0 at once when detached. Raises what it could not do."""
    status = box.status()
    if status != "running":
        raise errors.FailedPrecondition(f"cannot exec in a container that is {status}")
    asked = _process(box, line)
    validate.validate_process(asked)
    with ExitStack() as stack:
        pid, link = _fork(stack, box, asked, line)
        master = forks.master(link) if asked.get("terminal") else -1
        if master >= 0 and line.given.get("console-socket"):
            forks.hand_over(line.given["console-socket"], master)
            os.close(master)
            master = -1
        forks.write_pid(line.given.get("pid-file") or "", pid)
        if line.given.get("detach"):
            return 0
        if master < 0:
            return forks.wait(pid)
        from cribus.executor.runc_cli import relay

        return relay.wait(pid, master)


def _process(box: Box, line: Line) -> dict[str, Any]:
    given = line.given
    if given.get("process"):
        with open(given["process"], encoding="utf-8") as file:
            found: dict[str, Any] = json.load(file)
        return {**found, "terminal": bool(given.get("tty") or found.get("terminal"))}
    if len(line.args) < 2:
        raise errors.InvalidArgument("name the program to run, or --process with its document")
    base = box.spec().get("process") or {}
    made = {**base, "args": line.args[1:], "terminal": bool(given.get("tty"))}
    made["env"] = [*(base.get("env") or []), *given.get("env", [])]
    made["cwd"] = given.get("cwd") or base.get("cwd") or "/"
    if given.get("no-new-privs"):
        made["noNewPrivileges"] = True
    if given.get("user"):
        uid, _, gid = given["user"].partition(":")
        made["user"] = {"uid": int(uid), "gid": int(gid or 0)}
    if given.get("additional-gids"):
        made["user"] = {**made.get("user", {}), "additionalGids": [int(one) for one in given["additional-gids"]]}
    for name in given.get("cap", []):
        sets = made.setdefault("capabilities", {})
        made["capabilities"] = {
            kind: [*(sets.get(kind) or []), name] for kind in ("bounding", "effective", "permitted")
        }
    return made


def _fork(stack: ExitStack, box: Box, asked: dict[str, Any], line: Line) -> tuple[int, socket.socket]:
    known, spec = box.known(), box.spec()
    pidfd = process.pidfd_open(known["pid"])
    stack.callback(os.close, pidfd)
    if process.start_time(known["pid"]) != known["started"]:
        raise errors.FailedPrecondition("container not running")
    sync, written = os.pipe()
    stack.callback(os.close, sync)
    link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stack.enter_context(link)
    path = build.namespaces_of(spec).get("user", "")  # without one it is init's own
    users = os.open(path, os.O_RDONLY | os.O_CLOEXEC) if path else os.dup(pidfd)
    stack.callback(os.close, users)
    here = host.look()
    request = planned.plan(asked, spec, (box.tree().join_self_paths(known["cgroup"]), here))
    ignored = processes.ignored(asked, here, users="user" in build.namespaces_of(spec))
    log.warn(line.general, [*options.ignored(line), *fields.unknown(asked, Process, "process"), *ignored])
    streams = [theirs.fileno()] if asked.get("terminal") else [0, 1, 2]
    pid = forks.fork(child.main, (request, [pidfd, written, users, *streams]), (0, f"/proc/{known['pid']}/ns/pid"))
    os.close(written)
    theirs.close()
    forks.said(sync, b"error")
    return pid, link
