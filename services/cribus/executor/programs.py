"""Running somebody else's program to its end: a hook, or a command of an outside runtime.

It is a child of the fork server, which kills it, with its process group, when nobody waits for its
end any more: at the deadline, on cancellation, and when this process dies.
"""

import asyncio
import os
from contextlib import ExitStack
from typing import NamedTuple

from cribus.executor import waiting
from cribus.executor.node import Node

_CHILD = "cribus.executor.child.program:main"
_MOST = 65536  # bytes of its output that are kept


class Program(NamedTuple):
    """`argv[0]` is what it is called, `path` the file; `stdin` is small."""

    path: str
    argv: list[str]
    env: dict[str, str]
    stdin: bytes = b""
    cwd: str = "/"


class Ended(NamedTuple):
    """`code` as a shell has it: 128 + signal for one that was killed. `output`: both streams, decoded."""

    code: int
    output: str


async def run(node: Node, program: Program, seconds: float | None) -> Ended:
    """Run it; None: as long as it likes. Raises TimeoutError once it was killed at its deadline."""
    with ExitStack() as stack:
        exit_read, exit_write = _pipe(stack)
        output_read, output_write = _pipe(stack)
        stdin = os.memfd_create("stdin")
        stack.callback(os.close, stdin)
        os.write(stdin, program.stdin)
        os.lseek(stdin, 0, os.SEEK_SET)
        request = {**program._asdict(), "stdin": None, "_exit_fd": 3}
        child = await node.server.run(_CHILD, request, [stdin, output_write, output_write, exit_write])
        stack.callback(os.close, child.pidfd)
        async with asyncio.timeout(seconds):
            with waiting.overseen(child):
                return await _ended(exit_read, output_read)


def _pipe(stack: ExitStack) -> tuple[int, int]:
    read, write = os.pipe()
    os.set_blocking(read, False)
    stack.callback(os.close, read)
    stack.callback(os.close, write)
    return read, write


async def _ended(exit_read: int, output_read: int) -> Ended:
    """What it writes is read while it runs, so that it never waits for us; beyond the most it is dropped."""
    loop = asyncio.get_running_loop()
    status: asyncio.Future[int] = loop.create_future()
    output = bytearray()

    def read() -> None:
        try:
            part = os.read(output_read, _MOST)
        except BlockingIOError:
            return
        output.extend(part[: _MOST - len(output)])

    def over() -> None:
        if not status.done():
            status.set_result(int.from_bytes(os.read(exit_read, 4), "little"))

    loop.add_reader(output_read, read)
    loop.add_reader(exit_read, over)
    try:
        code = os.waitstatus_to_exitcode(await status)
    finally:
        loop.remove_reader(output_read)
        loop.remove_reader(exit_read)
    read()
    return Ended(code if code >= 0 else 128 - code, output.decode(errors="replace"))
