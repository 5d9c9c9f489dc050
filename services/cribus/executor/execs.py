"""Starting a further process in a running container.

Its descriptors come from the pod's shim over `shim.sock`, and its pidfd goes back there, because
descriptors cannot travel on the bus.
"""

import contextlib
import json
import os
import socket
from typing import Any

import msgpack

from cribus import errors
from cribus.api.executor import Exec, Execed
from cribus.executor import state, waiting
from cribus.executor.child import failure
from cribus.executor.node import Node
from cribus.executor.plan import build, process
from cribus.linux import fds as descriptors
from cribus.linux import files, namespaces
from cribus.linux import process as linux_process
from cribus.steps import Step

_CHILD = "cribus.executor.child.exec:main"
_DEADLINE = 30.0  # seconds until the program must have been executed
_SHIM = 10.0  # seconds for the shim's answer
_ALWAYS = namespaces.CLONE_NEWNS | namespaces.CLONE_NEWNET | namespaces.CLONE_NEWIPC | namespaces.CLONE_NEWUTS
_GIVEN = Step("executor.exec.descriptors")
_FORKED = Step("executor.exec.forked")
_TOLD = Step("executor.exec.told")
_EXECUTED = Step("executor.exec.executed")


async def run(node: Node, request: Exec) -> Execed:
    """Fork it, and wait until it executes. Raises what the kernel said when it cannot."""
    record = state.load(node.bundle(request.container))
    if record is None:
        raise errors.NotFound(f"container {request.container} is not known to the executor")
    status = state.read(node, request.container).status
    if status != "running":
        raise errors.FailedPrecondition(f"container {request.container} is {status}; a process needs a running one")
    with contextlib.ExitStack() as stack:
        shim = _connect(node, request.pod)
        stack.enter_context(shim)
        with _GIVEN.of(request.container):
            given = await _descriptors(shim, request)
        for fd in given:
            stack.callback(os.close, fd)
        return await _fork(node, request, (record, shim, given))


def _connect(node: Node, pod: str) -> socket.socket:
    try:
        directory = os.open(node.pod(pod), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return descriptors.connect_at(directory, "shim.sock", timeout=0)
        finally:
            os.close(directory)
    except OSError as error:
        raise errors.Unavailable(f"the shim of pod {pod} does not answer ({error.strerror}); repeat") from error


async def _descriptors(shim: socket.socket, request: Exec) -> list[int]:
    """Streams and the exit pipe of this exec."""
    expected = 2 if request.tty else 4
    try:
        descriptors.send(shim, msgpack.packb({"exec": request.exec_id}))
        _, found = await waiting.receive(shim, expected, _SHIM)
    except (OSError, TimeoutError) as error:
        raise errors.Unavailable("the pod's shim gave no descriptors for the process; repeat") from error
    if len(found) != expected:
        for fd in found:
            os.close(fd)
        raise errors.Aborted(f"the pod's shim does not know exec {request.exec_id}; it was restarted meanwhile")
    return found


async def _fork(node: Node, request: Exec, what: tuple[state.Record, socket.socket, list[int]]) -> Execed:
    record, shim, given = what
    spec = json.loads(files.read(f"{node.bundle(request.container)}/config.json"))
    with contextlib.ExitStack() as stack:
        pidfd = _opened(stack, record)
        sync, sync_write = os.pipe()
        stack.callback(os.close, sync)
        users_path = build.namespaces_of(spec).get("user", "")
        users = os.open(users_path, os.O_RDONLY | os.O_CLOEXEC) if users_path else os.dup(pidfd)
        stack.callback(os.close, users)
        passed = [pidfd, sync_write, users, *given]
        try:
            with _FORKED.of(request.container):
                child = await node.server.run(_CHILD, _request(node, request, spec, record), passed)
        except OSError as error:
            raise errors.FailedPrecondition(f"container {request.container} has just ended") from error
        finally:
            os.close(sync_write)
        stack.callback(os.close, child.pidfd)
        with contextlib.suppress(OSError):  # a shim that died has no use for it; its successor gives up the exec
            descriptors.send(shim, msgpack.packb({"exec": request.exec_id, "pid": child.pid}), [child.pidfd])
        _TOLD.passed()
        with _EXECUTED.of(request.container):
            await _executed(node, request, sync, child.pidfd)
        return Execed(pid=child.pid)


def _opened(stack: contextlib.ExitStack, record: state.Record) -> int:
    """A pidfd of that very init."""
    try:
        pidfd = linux_process.pidfd_open(record.pid)
    except ProcessLookupError as error:
        raise errors.FailedPrecondition(f"container {record.container} has just ended") from error
    stack.callback(os.close, pidfd)
    if linux_process.start_time(record.pid) != record.started:
        raise errors.FailedPrecondition(f"container {record.container} has just ended")
    return pidfd


def _request(node: Node, request: Exec, spec: dict[str, Any], record: state.Record) -> dict[str, Any]:
    base = spec.get("process") or {}
    asked = {
        **base,
        "args": request.args,
        "env": [*(base.get("env") or []), *request.env],
        "cwd": request.cwd or base.get("cwd") or "/",
        "terminal": request.tty,
    }
    wanted = build.namespaces_of(spec)
    flags = _ALWAYS | (build.KINDS["cgroup"] if "cgroup" in wanted else 0)
    return {
        "_pidns": 0,
        "_exit_fd": 3 + (1 if request.tty else 3),
        "flags": flags,
        "users": bool(wanted.get("user")),
        "cgroups": node.tree.join_self_paths(record.cgroup),
        "process": process.plan(asked, spec.get("linux") or {}, node.host),
    }


async def _executed(node: Node, request: Exec, sync: int, pidfd: int) -> None:
    try:
        said = await waiting.text(sync, _DEADLINE, b"error")
    except TimeoutError as error:
        with contextlib.suppress(ProcessLookupError):
            linux_process.pidfd_send_signal(pidfd, 9)
        raise errors.DeadlineExceeded(
            f"{request.args[0]} was not executed within {_DEADLINE:g} s; its file system may hang"
        ) from error
    refused = failure.read(said)[1]
    if refused:
        raise errors.from_code(*refused)
