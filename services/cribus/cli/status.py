"""Show the services, and how many pods and containers there are."""

import argparse
import asyncio
import json
from typing import Any

from cribus import config
from cribus.api import manager
from cribus.api.cri.container import ListContainersRequest
from cribus.api.cri.sandbox import ListPodSandboxRequest
from cribus.api.cri.values import ContainerState, PodSandboxState
from cribus.cli.output.table import age, complain, many, show
from cribus.cli.session import connected
from cribus.cli.supervisor import control
from cribus.config import Settings
from cribus.errors import CribusError, Unavailable


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true")


def command(given: argparse.Namespace) -> int:
    settings = config.load()
    services: list[dict[str, Any]] = [
        {
            "name": one.name,
            "state": one.state.lower(),
            "pid": one.pid,
            "started": one.since,
            "uptime": age(one.since) if one.pid else "-",
            "restarts": one.restarts,
            "hangs": one.hangs,
        }
        for one in control.programs(settings)
    ]
    try:
        counts = asyncio.run(_counts(settings))
        failed = ""
    except CribusError as error:
        counts, failed = {}, error.message
    if given.json:
        print(json.dumps({"node": settings.node, "services": services, **counts}, indent=2))
    else:
        show(services, ("name", "state", "pid", "uptime", "restarts", "hangs"), as_json=False)
        if counts:
            print(
                f"\n{many(counts['pods'], 'pod')} ({counts['ready']} ready),"
                f" {many(counts['containers'], 'container')} ({counts['running']} running)"
            )
    if failed:
        complain(f"pods and containers are not known: {failed}")
    return 1 if failed or any(one["state"] not in ("running", "starting") for one in services) else 0


async def _counts(settings: Settings) -> dict[str, int]:
    async with connected(settings) as bus:
        try:
            async with asyncio.timeout(2.0):
                pods = (await bus.call(manager.LIST_SANDBOXES, ListPodSandboxRequest())).items
                containers = (await bus.call(manager.LIST_CONTAINERS, ListContainersRequest())).containers
        except TimeoutError as error:
            raise Unavailable("the manager does not answer") from error
    return {
        "pods": len(pods),
        "ready": sum(pod.state == PodSandboxState.SANDBOX_READY for pod in pods),
        "containers": len(containers),
        "running": sum(one.state == ContainerState.CONTAINER_RUNNING for one in containers),
    }
