"""Names of pods and containers: one owner each.

A request for a name that is being made joins that work when it is the same request, and is refused
when it is not. Afterwards the record owns the name. A repeat gets the same id, also from a client who
never heard the answer to his first request: no name is ever poisoned.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from cribus import log
from cribus.api.cri.container import ContainerMetadata
from cribus.api.cri.sandbox import PodSandboxMetadata
from cribus.errors import AlreadyExists
from cribus.manager.records import Container, Sandbox


class _Work(NamedTuple):
    config: object
    task: asyncio.Task[str]


class Names:
    """Names whose owners are being made, in this process."""

    def __init__(self) -> None:
        self._running: dict[str, _Work] = {}

    async def join(self, name: str, config: object, make: Callable[[], Awaitable[str]]) -> str:
        """The id that `make` answers: every caller of the same name and configuration gets it.

        The work goes on when a caller goes away. Raises AlreadyExists for a different
        configuration, else what `make` raises.
        """
        work = self._running.get(name)
        if work is None:
            work = _Work(config, asyncio.ensure_future(make()))
            self._running[name] = work
            work.task.add_done_callback(lambda task: self._ended(name, task))
        elif work.config != config:
            raise AlreadyExists(f"{name} is being created just now, with another configuration; repeat when it is done")
        return await asyncio.shield(work.task)

    async def settle(self, name: str) -> None:
        """Wait until nobody makes an owner for this name, however it ends."""
        work = self._running.get(name)
        if work is not None:
            await asyncio.wait([work.task])

    def _ended(self, name: str, task: asyncio.Task[str]) -> None:
        del self._running[name]
        if not task.cancelled():
            task.exception()  # seen: whoever waited has it, and nobody may be left


def repeated(owner: Sandbox | Container, *, alike: bool, unused: bool) -> bool:
    """Whether the present request may have what its name's owner is. Raises AlreadyExists when it may not.

    Sent again by the bus, it may. Else it must want the very same (`alike`), and nobody may have used it: whoever
    has had its id would have gone on with it. So a client that gave up gets it, also one whose answer had left
    already, which nobody can know of.
    """
    if owner.request and owner.request == log.current("request"):
        return True
    if alike and unused:
        return True
    raise AlreadyExists(f"the name {owner.name} is taken by {owner.id}; remove that first, or raise the attempt")


def of_sandbox(metadata: PodSandboxMetadata) -> str:
    return f"{metadata.name}_{metadata.namespace}_{metadata.uid}_{metadata.attempt}"


def of_container(metadata: ContainerMetadata, pod: str) -> str:
    return f"{metadata.name}_{metadata.attempt} of pod {pod}"
