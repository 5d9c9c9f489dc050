"""Stop and remove pods, with all their containers. POD is an id, a unique beginning of one, or a name."""

import argparse
import asyncio
import shutil

from cribus import config
from cribus.api import manager
from cribus.api.cri.sandbox import (
    ListPodSandboxRequest,
    PodSandbox,
    RemovePodSandboxRequest,
    StopPodSandboxRequest,
)
from cribus.bus.service import Bus
from cribus.cli.logs import directory
from cribus.cli.session import ask
from cribus.errors import InvalidArgument, NotFound

AT_ONCE = 8
MADE = "cribus.run"  # label of pods that `cribus run` makes


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pod", nargs="*", metavar="POD")
    parser.add_argument("-a", "--all", action="store_true", help="every pod of the node")


def command(given: argparse.Namespace) -> int:
    if bool(given.pod) == given.all:
        raise InvalidArgument("name pods, or say --all")

    async def conversation(bus: Bus) -> int:
        if given.all:
            await remove_all(bus)
            shutil.rmtree(f"{config.load().root}/log/pods", ignore_errors=True)
            return 0
        pods = (await bus.call(manager.LIST_SANDBOXES, ListPodSandboxRequest())).items
        for wanted in given.pod:
            pod = chosen(pods, wanted)
            await remove(bus, pod.id)
            if MADE in pod.labels and pod.metadata:  # nobody else looks after its logs
                shutil.rmtree(directory(config.load(), pod.metadata), ignore_errors=True)
            print(wanted)
        return 0

    return ask(conversation)


def chosen(pods: list[PodSandbox], wanted: str) -> PodSandbox:
    """The one pod that is meant. Raises NotFound, or InvalidArgument when it could be several."""
    named = [pod for pod in pods if pod.metadata and pod.metadata.name == wanted]
    found = named or [pod for pod in pods if pod.id.startswith(wanted)]
    if not found:
        raise NotFound(f"there is no pod {wanted}; `cribus pods` lists them")
    if len(found) > 1:
        raise InvalidArgument(f"{wanted} could be {len(found)} pods; give more of the id")
    return found[0]


async def remove(bus: Bus, pod: str) -> None:
    """Stop a pod and remove it with its containers. Idempotent."""
    await bus.call(manager.STOP_SANDBOX, StopPodSandboxRequest(pod_sandbox_id=pod), timeout=60.0)
    await bus.call(manager.REMOVE_SANDBOX, RemovePodSandboxRequest(pod_sandbox_id=pod), timeout=60.0)


async def remove_all(bus: Bus) -> int:
    """Remove every pod, some at a time; how many they were."""
    pods = (await bus.call(manager.LIST_SANDBOXES, ListPodSandboxRequest())).items
    free = asyncio.Semaphore(AT_ONCE)

    async def one(pod: str) -> None:
        async with free:
            await remove(bus, pod)

    done = await asyncio.gather(*(one(pod.id) for pod in pods), return_exceptions=True)
    failed = [error for error in done if isinstance(error, BaseException)]
    if failed:
        raise failed[0]
    return len(pods)
