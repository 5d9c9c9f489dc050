"""What the manager remembers of pods and containers: one record each in the ledger, and the same
in memory, which is what lists and status read. Only `lifecycle` writes.

KV is memory, not truth: reconcile rebuilds records from what runs.
"""

import asyncio
import logging
from enum import StrEnum
from typing import Protocol, TypeVar, cast
from weakref import WeakValueDictionary

import msgspec

from cribus.api.cri.container import ContainerConfig, LinuxContainerUser
from cribus.api.cri.sandbox import PodSandboxConfig
from cribus.api.cri.security import LinuxContainerResources
from cribus.errors import InvalidArgument, NotFound

_logger = logging.getLogger(__name__)


class State(StrEnum):
    """Pods know CREATING, READY, STOPPING, NOTREADY, REMOVING, containers the others."""

    CREATING = "creating"
    READY = "ready"
    NOTREADY = "notready"
    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    EXITED = "exited"
    REMOVING = "removing"


class Sandbox(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A pod. Times are ns since the epoch."""

    id: str
    name: str = ""  # empty: a failed pod whose name is free again
    state: State = State.CREATING
    config: PodSandboxConfig = PodSandboxConfig()
    handler: str = ""
    created_at: int = 0
    changed_at: int = 0  # when the state was reached
    request: str = ""  # id of the request that made it: its repeat gets the same answer
    namespaces: dict[str, str] = {}
    cgroup: str = ""
    pid: int = 0
    ips: list[str] = []
    torn: bool = False  # nothing of it is left but this record
    told: dict[str, int] = {}  # kind of each event told of it → its time
    reason: str = ""  # why it failed


class Container(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A container. Times are ns since the epoch."""

    id: str
    pod: str
    name: str = ""
    state: State = State.CREATING
    config: ContainerConfig = ContainerConfig()
    created_at: int = 0
    changed_at: int = 0
    request: str = ""
    image_id: str = ""
    image_ref: str = ""
    log_path: str = ""
    stop_signal: str = "SIGTERM"
    user: LinuxContainerUser = LinuxContainerUser()
    resources: LinuxContainerResources | None = None
    volumes: list[str] = []  # names under which image volumes were prepared
    volume_refs: dict[str, str] = {}  # container_path of each → id of its image
    cgroup: str = ""
    checkpoint: str = ""  # archive that it is made from, where the image does not name it
    restore: str = ""  # folder of the checkpoint from which it is started
    start_request: str = ""
    start_caller: str = ""  # where the answer to that request went
    start_unclaimed: bool = False  # its client had given up before it ran
    started_at: int = 0
    finished_at: int = 0
    told: dict[str, int] = {}  # kind of each event told of it → its time
    pid: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""


R = TypeVar("R", bound=Sandbox | Container)


class Store(Protocol):
    """Where records are kept: manager/ledger.py, or a dictionary in tests."""

    async def put(self, key: str, value: bytes) -> object: ...
    async def delete(self, key: str) -> None: ...
    async def load_all(self) -> dict[str, bytes]: ...


def key(record: Sandbox | Container) -> str:
    return f"sandboxes.{record.id}" if isinstance(record, Sandbox) else f"containers.{record.id}"


class Records:
    """The read side, and the way to the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.sandboxes: dict[str, Sandbox] = {}
        self.containers: dict[str, Container] = {}
        self._names: dict[str, str] = {}
        self._pods: dict[str, dict[str, None]] = {}  # pod → its containers, oldest first
        self._writing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def load(self) -> None:
        """Read every record. Raises Unavailable rather than reading fewer than there are."""
        for where, data in sorted((await self._store.load_all()).items()):
            kind: type[Sandbox] | type[Container] = Sandbox if where.startswith("sandboxes.") else Container
            try:
                self._remember(msgspec.json.decode(data, type=kind))
            except msgspec.MsgspecError as error:
                # What runs under this id is rebuilt by reconcile as if there were no record.
                _logger.error("unreadable record", extra={"key": where, "cause": str(error)})

    async def put(self, record: Sandbox | Container) -> None:
        """Write it; visible to readers once that is done. Raises what the store raises."""
        await self._store.put(key(record), msgspec.json.encode(record))
        self._remember(record)

    async def delete(self, record: Sandbox | Container) -> None:
        """Forget a record, here first: a reader never sees what is gone. Idempotent."""
        self._forget(record)
        await self._store.delete(key(record))

    def writing(self, id: str) -> asyncio.Lock:
        """Held while the record is read, changed and written: changes of one record are in line."""
        lock = self._writing.get(id)
        if lock is None:
            lock = self._writing[id] = asyncio.Lock()
        return lock

    def latest(self, record: R) -> R | None:
        """The record as it is now, None when it was removed."""
        found = self.sandboxes if isinstance(record, Sandbox) else self.containers
        return cast("dict[str, R]", found).get(record.id)

    def owner(self, name: str) -> str:
        """The id that has this name, or an empty string."""
        return self._names.get(name, "")

    def in_pod(self, pod: str) -> list[Container]:
        """A pod's containers, oldest first."""
        return [self.containers[id] for id in self._pods.get(pod, ()) if id in self.containers]

    def sandbox(self, id: str) -> Sandbox:
        """By id or a unique beginning of one. Raises NotFound, InvalidArgument for what may be several."""
        return _found(self.sandboxes, id, "pod")

    def container(self, id: str) -> Container:
        """By id or a unique beginning of one. Raises NotFound, InvalidArgument for what may be several."""
        return _found(self.containers, id, "container")

    def _remember(self, record: Sandbox | Container) -> None:
        old = self.latest(record)
        if isinstance(record, Sandbox):
            self.sandboxes[record.id] = record
        else:
            self.containers[record.id] = record
            self._pods.setdefault(record.pod, {})[record.id] = None
        if old is not None and old.name != record.name and self._names.get(old.name) == record.id:
            del self._names[old.name]
        if record.name:
            self._names[record.name] = record.id

    def _forget(self, record: Sandbox | Container) -> None:
        if isinstance(record, Sandbox):
            self.sandboxes.pop(record.id, None)
        else:
            self.containers.pop(record.id, None)
            members = self._pods.get(record.pod, {})
            members.pop(record.id, None)
            if not members:
                self._pods.pop(record.pod, None)
        if self._names.get(record.name) == record.id:
            del self._names[record.name]


def _found(records: dict[str, R], id: str, what: str) -> R:
    exact = records.get(id)
    if exact is not None:
        return exact
    if not id:
        raise InvalidArgument(f"the {what}'s id is empty")
    near = [record for full, record in records.items() if full.startswith(id)]
    if len(near) == 1:
        return near[0]
    if near:
        raise InvalidArgument(f"{what} id {id} is the beginning of {len(near)} ids; give more of it")
    raise NotFound(f"there is no {what} with id {id}")
