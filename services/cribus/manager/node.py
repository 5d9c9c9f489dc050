"""What every operation of the manager works with."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol
from weakref import WeakValueDictionary

from cribus.api.cri.stats import FilesystemUsage
from cribus.api.events import Event
from cribus.api.verb import Call
from cribus.cgroups.tree import Tree
from cribus.config import Settings
from cribus.kept import Kept
from cribus.manager.apparmor import Profiles
from cribus.manager.host import Host
from cribus.manager.looker import Looker
from cribus.manager.names import Names
from cribus.manager.nri.front import Front
from cribus.manager.rates import Rates
from cribus.manager.records import Records
from cribus.manager.waiters import Waiters
from cribus.network.pods import Attached, Pod

Look = Callable[[str, str], Awaitable[Any]]  # (name of looks.LOOKS, path)
Publish = Callable[[Event], Awaitable[None]]


class Network(Protocol):
    """network/pods.py as operations see it; its calls block and run in threads."""

    def attach(self, pod: Pod) -> Attached: ...
    def detach(self, pod_id: str, netns: str = "") -> None: ...
    def ready(self) -> tuple[bool, str]: ...
    def reconcile(self, live_pods: set[str]) -> None: ...
    def stats(self, netns: str) -> dict[str, dict[str, int]]: ...
    def set_pod_cidr(self, subnet: str) -> None: ...
    def remove(self) -> None: ...


class Locks:
    """One lock an id, for as long as somebody holds it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, id: str) -> asyncio.Lock:
        lock = self._locks.get(id)
        if lock is None:
            lock = self._locks[id] = asyncio.Lock()
        return lock


async def _always(subject: str) -> bool:
    return True


class Below(NamedTuple):
    """What lies below: the store and the libraries, as they are or as tests have them."""

    records: Records
    network: Network
    tree: Tree
    host: Host


class Node:
    """One node's manager."""

    def __init__(self, settings: Settings, call: Call, publish: Publish, below: Below) -> None:
        self.settings = settings
        self.call = call
        self.publish = publish
        self.records = below.records
        self.network = below.network
        self.tree = below.tree
        self.host = below.host
        self.kept = Kept(settings.root)
        self.names = Names()
        self.listened: Callable[[str], Awaitable[bool]] = (
            _always  # whether somebody waits where an answer went: the bus knows
        )
        self.locks = Locks()
        self.exits = Waiters()
        self.asked_to_stop: set[str] = set()  # containers that were sent their stop signal
        self.rates = Rates()
        self.looker = Looker()
        self.apparmor = Profiles()
        self.look: Look = self.looker.ask  # at paths that a client named
        self.nri = Front(settings.nri, self.records, self.container_dir)
        self.layers: dict[str, tuple[float, FilesystemUsage]] = {}  # container → when seen, size of its layer

    def pod_dir(self, pod: str) -> str:
        return f"{self.settings.run}/pods/{pod}"

    def container_dir(self, container: str) -> str:
        return f"{self.settings.run}/containers/{container}"

    def volumes_dir(self, container: str) -> str:
        """Of volumes that a container's image declares; they live as long as the container."""
        return f"{self.settings.root}/volumes/{container}"
