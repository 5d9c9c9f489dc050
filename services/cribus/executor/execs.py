"""Starting a further process in a running container.

Its descriptors come from the pod's shim over `shim.sock`, and its pidfd goes back there, because
descriptors cannot travel on the bus.
"""

import contextlib
import json
import os
from typing import Any

from cribus import errors
from cribus.api.executor import Exec, Execed
from cribus.executor import found, state, waiting
from cribus.executor.child import failure
from cribus.executor.node import Node
from cribus.executor.plan import build, exec
from cribus.executor.runtimes import external_exec
from cribus.executor.shims import Shim
from cribus.linux import files
from cribus.linux import process as linux_process
from cribus.steps import Step

_CHILD = "cribus.executor.child.exec:main"
_DEADLINE = 30.0  # seconds until the program must have been executed
_GIVEN = Step("executor.exec.descriptors")
_FORKED = Step("executor.exec.forked")
_TOLD = Step("executor.exec.told")
_EXECUTED = Step("executor.exec.executed")


async def run(node: Node, request: Exec) -> Execed:
    """Fork it, and wait until it executes. Raises what the kernel said when it cannot."""
    record = await found.known(node, request.container)
    status = state.read(node, request.container).status
    if status != "running":
        raise errors.FailedPrecondition(f"container {request.container} is {status}; a process needs a running one")
    with contextlib.ExitStack() as stack:
        shim = Shim(node, request.pod, request.exec_id)
        stack.callback(shim.close)
        with _GIVEN.of(request.container):
            given = await shim.descriptors(2 if request.tty else 4)
        for fd in given:
            stack.callback(os.close, fd)
        if record.runtime:
            return await external_exec.run(node, request, record, (shim, given))
        return await _fork(node, request, (record, shim, given))


async def _fork(node: Node, request: Exec, what: tuple[state.Record, Shim, list[int]]) -> Execed:
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
            lives = linux_process.is_running(record.pid, record.started)
            # ESRCH: an init that is ending gives its namespaces away some time before it is a zombie.
            if isinstance(error, ConnectionError) or (lives and not isinstance(error, ProcessLookupError)):
                raise  # the fork server has gone, or the host is short of something
            raise errors.FailedPrecondition(f"container {request.container} has just ended") from error
        finally:
            os.close(sync_write)
        stack.callback(os.close, child.pidfd)
        shim.forked(child.pid, child.pidfd)
        _TOLD.passed()
        with _EXECUTED.of(request.container), waiting.overseen(child):
            await _executed(node, request, sync, child.pidfd)
        return Execed(pid=child.pid, started=linux_process.start_time(child.pid))


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
    made = exec.plan(exec.of(spec, request), spec, (node.tree.join_self_paths(record.cgroup), node.host))
    return {**made, "_pidns": 0, "_exit_fd": 3 + (1 if request.tty else 3)}


async def _executed(node: Node, request: Exec, sync: int, pidfd: int) -> None:
    try:
        said = await waiting.text(sync, _DEADLINE, b"error")
    except TimeoutError as error:
        with contextlib.suppress(ProcessLookupError):
            linux_process.pidfd_send_signal(pidfd, 9)
        raise errors.DeadlineExceeded(
            f"{request.args[0]} was not executed within {_DEADLINE:g} s; its file system may hang"
        ) from error
    _, refused, ready = failure.read(said)
    if refused:
        raise errors.from_code(*refused)
    if not ready:
        raise errors.Aborted(f"the process for {request.args[0]} was killed before it executed that; repeat")
