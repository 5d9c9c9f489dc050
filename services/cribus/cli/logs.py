"""Print a container's output, each line on the stream it came from.

CONTAINER is an id, the beginning of one, or a name; a pod means its one container.
"""

import argparse
import asyncio
import collections

from cribus.api import events, manager
from cribus.api.cri.container import ContainerStatus, ContainerStatusRequest
from cribus.api.cri.sandbox import PodSandboxMetadata
from cribus.api.cri.values import ContainerState
from cribus.bus.service import Bus
from cribus.cli import target
from cribus.cli.output import crilog
from cribus.cli.session import ask
from cribus.config import Settings
from cribus.errors import FailedPrecondition, NotFound


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the container exits")
    parser.add_argument("-t", "--timestamps", action="store_true")
    parser.add_argument("-n", "--tail", type=int, default=-1, metavar="N", help="begin with the last N lines")


def command(given: argparse.Namespace) -> int:
    async def conversation(bus: Bus) -> int:
        since = await bus.events.last() if given.follow else 0
        found = await status(bus, await target.container(bus, given.container))
        if not found.log_path:
            raise FailedPrecondition(f"container {given.container} was created without a log file")
        with crilog.Log(found.log_path, times=given.timestamps) as log:
            first = log.read()
            crilog.write(first if given.tail < 0 else [*collections.deque(first, given.tail)], times=log.times)
            if given.follow and found.state != ContainerState.CONTAINER_EXITED:
                await follow(bus, found.id, log, since)
        return 0

    return ask(conversation)


def directory(settings: Settings, metadata: PodSandboxMetadata) -> str:
    """Where a pod that `cribus run` makes has its logs."""
    return f"{settings.root}/log/pods/{metadata.name}_{metadata.uid[:12]}"


async def status(bus: Bus, container: str) -> ContainerStatus:
    """One container's status. Raises NotFound."""
    answer = await bus.call(manager.CONTAINER_STATUS, ContainerStatusRequest(container_id=container))
    if answer.status is None:
        raise NotFound(f"there is no container {container}; `cribus ps -a` lists them")
    return answer.status


async def follow(bus: Bus, container: str, log: crilog.Log, since: int) -> None:
    """Print what is written until the container has stopped; `since` is an event number from before."""
    stopped = asyncio.create_task(has_stopped(bus, container, since))
    try:
        while not stopped.done():
            change = asyncio.create_task(log.changed())
            await asyncio.wait({change, stopped}, return_when=asyncio.FIRST_COMPLETED)
            change.cancel()
            log.show()
        await stopped
    finally:
        stopped.cancel()
    log.show()  # what was written before the news of the exit


async def has_stopped(bus: Bus, container: str, since: int) -> None:
    """Wait until the container's exit is in its record. Events after number `since` are looked at."""
    async for seen in bus.follow(since=since):
        if seen.event.id == container and seen.event.kind in (events.CONTAINER_STOPPED, events.CONTAINER_REMOVED):
            return
