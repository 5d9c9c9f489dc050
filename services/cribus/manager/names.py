"""Names of pods and containers: one owner each.

A request for a name that is being made joins that work when it is the same request, and is refused
when it is not. Afterwards the record owns the name. A repeat of the very request, or of one whose
client had given up before the answer, gets the same id: no name is ever poisoned.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from cribus import log
from cribus.api.cri.container import ContainerMetadata
from cribus.api.cri.sandbox import PodSandboxMetadata
from cribus.errors import AlreadyExists
from cribus.manager.records import Container, Sandbox

Listened = Callable[[str], Awaitable[bool]]


class _Work(NamedTuple):
    config: object
    task: asyncio.Task[str]


class Names:
    """Names whose owners are being made, in this process."""

    def __init__(self) -> None:
        self._running: dict[str, _Work] = {}

    async def join(self, name: str, config: object, make: Callable[[], Awaitable[str]]) -> tuple[str, bool]:
        """The id that `make` answers, and whether it was made for somebody else: every caller of the same
        name and configuration gets it.

        The work goes on when a caller goes away. Raises AlreadyExists for a different
        configuration, else what `make` raises.
        """
        work = self._running.get(name)
        joined = work is not None
        if work is None:
            work = _Work(config, asyncio.ensure_future(make()))
            self._running[name] = work
            work.task.add_done_callback(lambda task: self._ended(name, task))
        elif work.config != config:
            raise AlreadyExists(f"{name} is being created just now, with another configuration; repeat when it is done")
        return await asyncio.shield(work.task), joined

    async def settle(self, name: str) -> None:
        """Wait until nobody makes an owner for this name, however it ends."""
        work = self._running.get(name)
        if work is not None:
            await asyncio.wait([work.task])

    def _ended(self, name: str, task: asyncio.Task[str]) -> None:
        del self._running[name]
        if not task.cancelled():
            task.exception()  # seen: whoever waited has it, and nobody may be left


async def settled(listened: Listened, owner: Sandbox | Container, config: object) -> bool:
    """Whether the request is a repeat of the one that made the owner of its name, so that the owner
    is the answer. Raises AlreadyExists when it is not.

    A new request for the same configuration is a repeat when nobody had the answer to the first:
    its client gave up, or the gateway that asked was killed, perhaps with the answer in its hands.
    """
    if owner.request and owner.request == log.current("request"):
        return True
    if owner.config == config and (owner.unclaimed or not await listened(owner.caller)):
        return True
    raise AlreadyExists(f"the name {owner.name} is taken by {owner.id}; remove that first, or raise the attempt")


def has(owner: Sandbox | Container) -> bool:
    """Whether the present request's caller is who got the owner's id, or gets it now."""
    return owner.caller == log.current("caller")


def given_up(now: int) -> bool:
    """Whether the client of this request has stopped waiting; `now` in ns of the monotonic clock."""
    until = int(log.current("until") or 0)
    return 0 < until < now


def of_sandbox(metadata: PodSandboxMetadata) -> str:
    return f"{metadata.name}_{metadata.namespace}_{metadata.uid}_{metadata.attempt}"


def of_container(metadata: ContainerMetadata, pod: str) -> str:
    return f"{metadata.name}_{metadata.attempt} of pod {pod}"
