"""A further process in a container of an outside runtime, made by the runtime's own exec."""

import contextlib
import json
import os
import socket
from typing import Any

from cribus import errors
from cribus.api.executor import Exec, Execed
from cribus.executor import state, waiting
from cribus.executor.node import Node
from cribus.executor.plan import exec
from cribus.executor.runtimes import command, console
from cribus.executor.shims import Shim
from cribus.executor.state import Record
from cribus.forkserver import Spawned
from cribus.linux import fds as descriptors
from cribus.linux import files, process

_CHILD = "cribus.executor.child.outside_exec:main"
_DEADLINE = 30.0  # seconds until the program must have been executed


async def run(node: Node, request: Exec, record: Record, what: tuple[Shim, list[int]]) -> Execed:
    """Run it to where the process executes. Raises what the runtime says when it does not."""
    shim, given = what
    where = command.home(node, record.container)
    name = f"{where}/exec-{os.path.basename(request.exec_id)}"
    with contextlib.ExitStack() as stack:
        stack.callback(_away, name)
        spec = json.loads(files.read(f"{node.bundle(request.container)}/config.json"))
        files.write_atomic(f"{name}.json", json.dumps(exec.of(spec, request)).encode(), 0o600)
        words = ["exec", "--process", f"{name}.json", "--pid-file", f"{name}.pid", "--detach"]
        terminal = console.Console(stack, where) if request.tty else None
        if terminal is not None:
            words += ["--console-socket", terminal.path]
        made = command.line(node, record, [*words, record.container], os.path.basename(name) + ".log")
        asked = {"program": made._asdict() | {"stdin": None}, "pid": f"{name}.pid"}
        link, child = await _forked(node, stack, asked, _streams(stack, request, given))
        with waiting.overseen(child):
            pid, pidfd = await _answer(link, record, f"{name}.log")
        stack.callback(os.close, pidfd)
        shim.forked(pid, pidfd)
        if terminal is not None:
            master = await terminal.master(_DEADLINE)
            stack.callback(os.close, master)
            _hand_over(given[0], master)
        return Execed(pid=pid, started=process.start_time(pid))


def _streams(stack: contextlib.ExitStack, request: Exec, given: list[int]) -> list[int]:
    """Of the runtime, which hands them on: [stdin, stdout, stderr, exit pipe]."""
    if not request.tty:
        return given
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    stack.callback(os.close, null)
    return [null, null, null, given[1]]


async def _forked(
    node: Node, stack: contextlib.ExitStack, asked: dict[str, Any], four: list[int]
) -> tuple[socket.socket, Spawned]:
    link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stack.enter_context(link)
    link.setblocking(False)
    with theirs:
        child = await node.server.run(_CHILD, asked, [theirs.fileno(), *four])
    stack.callback(os.close, child.pidfd)
    return link, child


async def _answer(link: socket.socket, record: Record, log: str) -> tuple[int, int]:
    try:
        data, fds = await waiting.receive(link, 1, _DEADLINE)
    except TimeoutError as error:
        raise command.hung(record, "exec", _DEADLINE) from error
    except OSError:
        data, fds = b"", []
    if not fds:
        if not state.alive(record):
            raise errors.FailedPrecondition(f"container {record.container} has just ended")
        text = command.said(log) or data.decode().removeprefix("error ") or "it was killed"
        raise command.refused(record, "exec", text)
    return int(data), fds[0]


def _hand_over(link: int, master: int) -> None:
    """To the shim, as a process of the built-in runtime does itself."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(link)) as sock:  # a shim that died
        descriptors.send(sock, b"console", [master])


def _away(name: str) -> None:
    for kind in ("json", "pid", "log"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{name}.{kind}")
