"""A layer's worker process: forked by the fork server, one a layer, and gone when the layer is there.

`main` is what runs in it, `bring` is how the service has it run. The worker reads the blob from one
descriptor and writes its answer, msgpack, to another.
"""

import contextlib
import os
from collections.abc import Awaitable, Callable, Sequence

import msgpack

from cribus import hung
from cribus.errors import Aborted, CribusError, Unavailable, from_code
from cribus.images import layer
from cribus.images.layer import Job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Spawned(Protocol):
        """A child of the fork server."""

        pid: int
        pidfd: int

    Spawn = Callable[[str, dict[str, Any], Sequence[int]], Awaitable[Spawned]]


class Died(Unavailable):
    """The worker was killed: another one goes on where it was."""


def main(request: "dict[str, Any]", fds: list[int]) -> int:
    """Bring one layer: fds are the blob to read and the pipe for the answer."""
    os.umask(0)

    def work() -> tuple[int, int]:
        made = layer.bring(Job(**request["job"]), fds[0])
        return made.size, made.inodes

    return report(fds[1], work)


def report(fd: int, work: "Callable[[], tuple[int, int]]") -> int:
    """Do it, and write what came of it to the pipe that `answer` reads."""
    try:
        size, inodes = work()
        told = {"code": "", "size": size, "inodes": inodes}
    except CribusError as error:
        told = {"code": error.code, "message": error.message}
    with contextlib.suppress(BrokenPipeError):  # the service has died; its successor finds the layer
        os.write(fd, msgpack.packb(told))
    return 0


class Started:
    """A worker that has begun, and the descriptor on which it answers."""

    __slots__ = ("child", "fd")

    def __init__(self, fd: int, child: "Spawned") -> None:
        self.fd = fd
        self.child = child


async def start(spawn: "Spawn", job: Job, blob: int) -> Started:
    """Have a worker begin to read `blob`; to be given to `answer`. Raises OSError, Aborted."""
    return await begin(spawn, "cribus.images.worker:main", {"job": job._asdict()}, [blob])


async def begin(spawn: "Spawn", function: str, request: "dict[str, Any]", fds: list[int]) -> Started:
    """Have a worker run a function, whose last descriptor is where it reports.

    Raises Aborted when the fork server has gone: so this service is about to be started anew, and what was done so far
    is there to go on with.
    """
    ours, theirs = os.pipe()
    try:
        child = await spawn(function, request, [*fds, theirs])
    except BaseException as error:
        os.close(ours)
        if isinstance(error, ConnectionError):
            raise Aborted(f"the image service was cut short ({error}); repeat it") from error
        raise
    finally:
        os.close(theirs)
    return Started(ours, child)


async def answer(started: Started) -> "tuple[int, int]":
    """(bytes, inodes) of the layer, once the worker has ended; one that is stopped is killed.

    Raises what the worker raised, Died when it was killed.
    """
    import asyncio

    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    pipe = os.fdopen(started.fd, "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        with hung.Overseen(started.child.pid, lambda: hung.kill(started.child.pidfd)):
            data = await reader.read()
    finally:
        transport.close()
        os.close(started.child.pidfd)
    if not data:
        raise Died("the process that unpacked the layer died; pull again, it goes on from there")
    found = msgpack.unpackb(data)
    if found["code"]:
        raise from_code(found["code"], found["message"])
    return int(found["size"]), int(found["inodes"])
