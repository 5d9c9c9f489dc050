"""What the manager's operations say to NRI: one line each. With no plugin connected each costs a look at a
variable, and nothing of NRI is loaded.

The protocol is that of github.com/containerd/nri: plugins connect to a unix socket, see pods and containers
come and go, and change what containers are made of.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from cribus.api.cri.security import LinuxContainerResources
from cribus.config import Nri
from cribus.manager import podfiles
from cribus.manager.nri.events import Event
from cribus.manager.nri.existing import Existing
from cribus.manager.records import Container, Records, Sandbox
from cribus.oci.runtime_spec import Spec

if TYPE_CHECKING:
    from cribus.manager.nri.rounds import Adjusted, Evict, Limit, Rounds

_logger = logging.getLogger(__name__)
Extra = dict[str, Any]


class Front:
    """`folder` names where a container's runtime-spec lies."""

    def __init__(self, settings: Nri, records: Records, folder: Callable[[str], str]) -> None:
        self._settings = settings
        self._existing = Existing(records, folder)
        self._rounds: Rounds | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._leaving: dict[str, asyncio.Task[None]] = {}

    # The socket

    @contextlib.asynccontextmanager
    async def serving(self, version: str, limit: "Limit", evict: "Evict") -> AsyncIterator[None]:
        """Those of the folder are started, and others may connect. One that cannot be served is logged: no pod
        depends on it."""

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._connections.add(task)
            try:
                await self._admitted(self._opened(version, limit, evict), (reader, writer))
            finally:
                self._connections.discard(task)

        if not self._settings.socket:
            yield
            return
        try:
            listening = _listening(self._settings.socket)
        except OSError as error:
            where = self._settings.socket
            _logger.error("no NRI: its socket cannot be made", extra={"path": where, "cause": str(error)})
            yield
            return
        inode = _inode(self._settings.socket)
        server = await asyncio.start_unix_server(connected, sock=listening)
        try:
            if podfiles.listed(self._settings.plugins):
                from cribus.manager.nri.launch import launched

                self._connections |= set(await launched(self._opened(version, limit, evict), self._settings))
            yield
        finally:
            server.close()
            await self._ended()
            if _inode(self._settings.socket) == inode:  # else another manager has the name by now
                os.unlink(self._settings.socket)

    async def _admitted(self, rounds: "Rounds", streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        from cribus.manager.nri.admit import admit

        try:
            await admit(rounds, streams)
        except Exception:  # nobody waits for this task: what it dies of would be lost
            _logger.exception("an NRI plugin could not be served")

    async def _ended(self) -> None:
        if self._rounds is not None:
            await self._rounds.shut_down()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _opened(self, version: str, limit: "Limit", evict: "Evict") -> "Rounds":
        from cribus.manager.nri.rounds import Rounds, Runtime

        if self._rounds is None:
            self._rounds = Rounds(self._settings, self._existing, Runtime(version, limit, evict))
        return self._rounds

    # What happens, and what plugins make of it

    async def ask(self, event: Event, record: Sandbox | Container) -> None:
        """Raises FailedPrecondition when a plugin refuses: it must not happen."""
        rounds = self._busy()
        if rounds is not None:
            await rounds.ask(event, record)
        elif event is Event.RUN_POD_SANDBOX:
            self._existing.note(record, {})

    async def tell(self, event: Event, record: Sandbox | Container) -> None:
        """It has happened."""
        rounds = self._busy()
        if rounds is not None:
            await rounds.tell(event, record)

    async def create(self, pod: Sandbox, record: Container, spec: Spec) -> "Adjusted | None":
        """A container is made by this spec. What plugins make of it.

        Raises FailedPrecondition when a plugin refuses, or two contradict each other.
        """
        rounds = self._busy()
        if rounds is not None:
            return await rounds.create(pod, record, spec)
        self._existing.note(record, spec)
        return None

    async def undone(self, record: Sandbox | Container) -> None:
        """What was asked about did not come to be."""
        asked, rounds = self._existing.forget(record.id), self._busy()
        if asked and rounds is not None:
            await rounds.undone(record)

    async def update(self, record: Container, asked: LinuxContainerResources) -> tuple[LinuxContainerResources, Extra]:
        """New limits, as the plugins want them. Raises FailedPrecondition when one refuses."""
        rounds = self._busy()
        return (asked, {}) if rounds is None else await rounds.update(record, asked)

    async def update_pod(
        self, record: Sandbox, overhead: LinuxContainerResources | None, asked: LinuxContainerResources | None
    ) -> None:
        """Raises FailedPrecondition when a plugin refuses."""
        rounds = self._busy()
        if rounds is not None:
            await rounds.update_pod(record, overhead, asked)

    def exited(self, record: Container) -> None:
        """A container is over. Told soon, in the order of calls; nobody waits for it but `settled`."""
        rounds = self._busy()
        if rounds is not None:
            task = self._leaving[record.id] = asyncio.ensure_future(rounds.stopped(record))
            task.add_done_callback(lambda _: self._leaving.pop(record.id, None))

    async def settled(self, container: str) -> None:
        """Until plugins were told that it is over."""
        leaving = self._leaving.get(container)
        if leaving is not None:
            await asyncio.wait([leaving])

    async def removed(self, record: Container) -> None:
        """A container is gone; plugins hear before that it is over."""
        await self.settled(record.id)
        rounds = self._busy()
        if rounds is not None:
            await rounds.removed(record)

    def _busy(self) -> "Rounds | None":
        return self._rounds if self._rounds is not None and self._rounds.busy else None


def _listening(path: str) -> socket.socket:
    """Under a name that the newest manager has, whoever had it before."""
    new = f"{path}.new"  # one that a killed manager left is replaced too
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        made.bind(new)
        os.chmod(new, 0o600)
        made.listen()
        os.rename(new, path)
    except OSError:
        made.close()
        raise
    return made


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0
