"""What the executor's domain functions work with: one object a process, made at start."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from typing import NamedTuple

from cribus.ahead import Function
from cribus.api.executor import Created, Criu
from cribus.cgroups.layout import Tree
from cribus.config import Handler
from cribus.errors import FailedPrecondition
from cribus.executor.plan.host import Host
from cribus.forkserver import Server
from cribus.kept import Kept

_REMOVALS = 3  # somebody who does not know yet may leave a file there meanwhile


class Held(NamedTuple):
    """Descriptors that the executor keeps of a container it created: they save asking the keeper."""

    pidfd: int
    sync: int


class Node:
    """Directories, the fork server, the cgroup tree, and what is known of running containers."""

    def __init__(self, run: str, server: Server, tree: Tree, host: Host) -> None:
        self.run = run
        self.kept = Kept("")
        self.server = server
        self.keepers = Function(server, "cribus.keeper:main")
        self.pods = Function(server, "cribus.executor.child.pod:main")
        self.tree = tree
        self.host = host
        self.handlers: dict[str, Handler] = {}
        self.held: dict[str, Held] = {}
        self.setups: dict[str, asyncio.Task[Created]] = {}  # creations that are not over
        self.criu: dict[tuple[str, int, int], Criu] = {}  # by file: path, inode, time
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}  # with how many hold or want it

    def bundle(self, container: str) -> str:
        """The container's run directory."""
        return f"{self.run}/containers/{container}"

    def pod(self, pod: str) -> str:
        """The pod's run directory."""
        return f"{self.run}/pods/{pod}"

    def remove(self, directory: str) -> None:
        """Remove a run directory (of ours, on tmpfs). Content with nothing; raises FailedPrecondition."""
        for _ in range(_REMOVALS):
            shutil.rmtree(directory, ignore_errors=True)
            if not os.path.exists(directory):
                return
        raise FailedPrecondition(f"run directory {directory} cannot be removed; see what is mounted there")

    def hold(self, container: str, held: Held) -> None:
        """Keep these instead of what was kept before."""
        self.let_go(container)
        self.held[container] = held

    def let_go(self, container: str) -> None:
        """Close what is kept of a container. Content with nothing."""
        held = self.held.pop(container, None)
        for fd in held or ():
            if fd >= 0:
                os.close(fd)

    @contextlib.asynccontextmanager
    async def alone(self, id: str) -> AsyncIterator[None]:
        """One at a time for this container or pod."""
        lock, users = self._locks.get(id, (asyncio.Lock(), 0))
        self._locks[id] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(id)
            if users > 1:
                self._locks[id] = (lock, users - 1)
