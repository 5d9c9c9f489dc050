"""List containers: the running ones, or all with -a."""

import argparse
from typing import Any

from cribus.api import manager
from cribus.api.cri.container import Container, ContainerFilter, ListContainersRequest
from cribus.api.cri.sandbox import ListPodSandboxRequest
from cribus.api.cri.values import ContainerState
from cribus.bus.service import Bus
from cribus.cli.output.table import age, short, show
from cribus.cli.session import ask

COLUMNS = ("container", "image", "created", "state", "name", "attempt", "pod", "pod_name")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="also those that have exited")
    parser.add_argument("-q", "--quiet", action="store_true", help="whole ids only")
    parser.add_argument("--json", action="store_true")


def command(given: argparse.Namespace) -> int:
    async def conversation(bus: Bus) -> int:
        wanted = ContainerFilter() if given.all else ContainerFilter(state=ContainerState.CONTAINER_RUNNING)
        found = (await bus.call(manager.LIST_CONTAINERS, ListContainersRequest(filter=wanted))).containers
        found.sort(key=lambda one: one.created_at, reverse=True)
        if given.quiet:
            print("".join(f"{one.id}\n" for one in found), end="")
            return 0
        pods = (await bus.call(manager.LIST_SANDBOXES, ListPodSandboxRequest())).items
        names = {pod.id: pod.metadata.name if pod.metadata else "" for pod in pods}
        show([row(one, names, short_ids=not given.json) for one in found], COLUMNS, as_json=given.json)
        return 0

    return ask(conversation)


def row(one: Container, pod_names: dict[str, str], *, short_ids: bool) -> dict[str, Any]:
    """One container as a table has it, or with whole ids and times in ns for programs."""
    cut = short if short_ids else str
    image = one.image.user_specified_image or one.image.image if one.image else one.image_ref
    return {
        "container": cut(one.id),
        "image": cut(image) if image.startswith("sha256:") else image,
        "created": age(one.created_at) if short_ids else one.created_at,
        "state": one.state.name.removeprefix("CONTAINER_").lower(),
        "name": one.metadata.name if one.metadata else "",
        "attempt": one.metadata.attempt if one.metadata else 0,
        "pod": cut(one.pod_sandbox_id),
        "pod_name": pod_names.get(one.pod_sandbox_id, ""),
    }
