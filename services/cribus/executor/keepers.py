"""The executor's side of the keeper's protocol (keeper.py)."""

import asyncio
import contextlib
import os
import socket

from cribus import pulse
from cribus.errors import Aborted, DeadlineExceeded, FailedPrecondition
from cribus.executor import ending, waiting
from cribus.executor.node import Held, Node
from cribus.keeper import ALIVE, SOCKET, introduce
from cribus.linux import fds as descriptors
from cribus.linux import process

_PATIENCE = 5.0  # seconds: a keeper does nothing that takes long
_ROUND = 1.0  # seconds after which one that has not gone is told again


def claim(bundle: str, fifo: str = ALIVE) -> int:
    """The write end of the fifo, to be passed to a keeper, or to whom else it is about. Raises Aborted while
    another has it."""
    with contextlib.suppress(FileExistsError):
        os.mkfifo(f"{bundle}/{fifo}", 0o600)
    if (held := _reader(bundle, fifo)) is not None:
        os.close(held)
        raise Aborted("whoever began this for this container before is just ending; repeat")
    reader = os.open(f"{bundle}/{fifo}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.open(f"{bundle}/{fifo}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(reader)


async def gone(bundle: str, seconds: float, fifo: str = ALIVE) -> bool:
    """Whether no keeper is left, also none that has not yet its socket, within so long."""
    reader = _reader(bundle, fifo)
    if reader is None:
        return True
    try:
        return await waiting.readable(reader, seconds)
    finally:
        os.close(reader)


def _reader(bundle: str, fifo: str) -> int | None:
    """The fifo's read end while somebody has the other open, else None."""
    try:
        reader = os.open(f"{bundle}/{fifo}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        os.read(reader, 1)
    except BlockingIOError:
        return reader
    os.close(reader)
    return None


def connect(bundle: str) -> socket.socket | None:
    """A connection to the container's keeper, None when there is none."""
    return descriptors.connect_in(bundle, SOCKET)


def pid(sock: socket.socket) -> int:
    """Who listens there."""
    return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], "little")


async def get(bundle: str) -> dict[str, int]:
    """Copies of the keeper's descriptors by name; {} without a keeper. The caller closes them."""
    sock = connect(bundle)
    if sock is None:
        return {}
    with sock:
        try:
            descriptors.send(sock, b"get")
            data, fds = await waiting.receive(sock, descriptors.MAX_FDS, _PATIENCE)
        except (OSError, TimeoutError):
            return {}
    return dict(zip(data.decode().split(), fds, strict=True))


async def held(node: Node, container: str) -> Held:
    """What was kept since the creation, or, after a restart, the keeper's copies. Raises FailedPrecondition."""
    if container not in node.held:
        found = await get(node.bundle(container))
        kept = Held(found.pop("pidfd", -1), found.pop("sync", -1))
        for fd in found.values():
            os.close(fd)
        if kept.pidfd < 0:
            if kept.sync >= 0:
                os.close(kept.sync)
            raise FailedPrecondition(f"the keeper of container {container} has gone; delete and create it")
        node.hold(container, kept)
    return node.held[container]


async def put(bundle: str, name: str, fd: int) -> bool:
    """Leave a copy of a descriptor with the keeper; False when there is none that takes it."""
    return await _asked(bundle, f"put {name}".encode(), [fd])


async def end(bundle: str, *, dead: bool) -> None:
    """Tell the keeper to let go and wait until it has gone; `dead`: its init is, else it is killed first.

    One that was forked but has no socket yet is waited for, one that does not answer is killed. Raises
    DeadlineExceeded.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + ending.DEADLINE
    if not dead:
        await _kill_init(bundle)
    while True:
        if not await _asked(bundle, b"end", []):
            await _kill(bundle)
        if await gone(bundle, _ROUND):
            return
        if loop.time() > until:
            raise DeadlineExceeded(f"the keeper in {bundle} does not end; its container may hang in the kernel")
        await _kill_init(bundle)


async def _kill_init(bundle: str) -> None:
    """Also one that has not yet joined its cgroup: its keeper knows it."""
    found = await get(bundle)
    try:
        if "pidfd" in found:
            with contextlib.suppress(ProcessLookupError):
                process.pidfd_send_signal(found["pidfd"], 9)
    finally:
        for fd in found.values():
            os.close(fd)


async def _kill(bundle: str) -> None:
    """A keeper that listens, but does not answer."""
    sock = connect(bundle)
    if sock is not None:
        with sock:
            owner = pid(sock)
            await ending.kill(owner, process.start_time(owner))


async def _asked(bundle: str, request: bytes, fds: list[int]) -> bool:
    sock = connect(bundle)
    if sock is None:
        return False
    with sock:
        try:
            introduce(sock)
            descriptors.send(sock, request, fds)
            data, _ = await waiting.receive(sock, 0, _PATIENCE)
        except (OSError, TimeoutError):
            data = b""
    pulse.checked()  # else it was right not to listen
    return data == b"ok"
