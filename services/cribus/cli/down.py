"""Stop the services. Pods go on running and are found again by the next `cribus up`, unless --pods is given."""

import argparse
import asyncio
import os
import time
from pathlib import Path

from cribus import config
from cribus.api import manager
from cribus.api.verb import Empty
from cribus.cli import rm
from cribus.cli.output.table import many
from cribus.cli.session import connected
from cribus.cli.supervisor import configuration, control, daemon
from cribus.config import Settings
from cribus.errors import DeadlineExceeded, FailedPrecondition, Unavailable

LEAVING = 150.0  # seconds: a pod that is just being made may wait for a CNI plugin
TIMEOUT = 60.0  # seconds for the services to end


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pods",
        action="store_true",
        help="stop and remove every pod first, and what the node keeps on the host between pods",
    )


def command(given: argparse.Namespace) -> int:
    settings = config.load()
    up = control.supervised(settings)
    if given.pods:
        _pods(settings, up=up)
    if up:
        stop(settings)
        print(f"node {settings.node} is down")
    else:
        print(f"node {settings.node} was not running")
    return 0


def _pods(settings: Settings, *, up: bool) -> None:
    if up:
        removed = asyncio.run(_remove_all(settings))
        print(f"{many(removed, 'pod')} removed")
    elif left := [path.name for path in Path(settings.run, "pods").glob("*")]:
        raise FailedPrecondition(
            f"{many(len(left), 'pod')} of this node still there but it is down; `cribus up`, then this again"
        )


async def _remove_all(settings: Settings) -> int:
    async with connected(settings) as bus:
        removed = await rm.remove_all(bus)
        await bus.call(manager.LEAVE, Empty(), timeout=LEAVING)
        return removed


def stop(settings: Settings) -> None:
    """End supervisord and its guard. Raises DeadlineExceeded when they are still there after a minute."""
    folder = str(configuration.directory(settings))
    end = time.monotonic() + TIMEOUT
    while pid := daemon.running(folder):
        try:
            control.ask(settings, "supervisor.shutdown")
        except Unavailable:
            continue  # it was killed a moment ago, or listens in a moment
        if not daemon.wait_for(pid, end - time.monotonic()):
            raise DeadlineExceeded(f"supervisord (pid {pid}) still waits for services; see {settings.root}/log")
    descriptor = daemon.lock(folder, wait=True)
    if descriptor is not None:
        os.close(descriptor)
