"""Start the node's services and wait until all of them answer. Does nothing to what runs already."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from cribus import config
from cribus.bus import credentials
from cribus.cli.supervisor import configuration
from cribus.config import Settings
from cribus.errors import FailedPrecondition

_NICER = 10


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds to wait for the services (default 30)")
    parser.add_argument("--foreground", action="store_true", help="be the guard of the services: for a service manager")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def command(given: argparse.Namespace) -> int:
    settings = config.load()
    prepare(settings)
    if given.foreground:
        argv = guard_command(settings)
        argv.insert(-1, "--stay")
        os.execv(argv[0], argv)
    guard(settings)
    os.nice(_NICER)  # than what we wait for

    import asyncio  # what talks with the bus is loaded while supervisord comes up

    from cribus.cli import readiness
    from cribus.cli.supervisor import control

    took = asyncio.run(readiness.ready(settings, given.timeout))
    if given.json:
        print(json.dumps({"node": settings.node, "socket": settings.gateway.socket, "seconds": took}, indent=2))
        return 0
    print(f"node {settings.node} is up")
    for program in control.programs(settings):
        print(f"  {program.name:<9} pid {program.pid:<8} ready after {took[program.name]:.2f} s")
    print(f"CRI socket unix://{settings.gateway.socket}")
    return 0


def prepare(settings: Settings) -> None:
    """Folders, credentials and configuration. Idempotent. Raises FailedPrecondition unless run as root."""
    if os.geteuid() != 0:
        raise FailedPrecondition("the node runs as root; use sudo")
    for folder, mode in (
        (Path(settings.run), 0o755),
        (configuration.directory(settings), 0o700),
        (Path(settings.root), 0o711),
        (configuration.logs(settings), 0o700),
    ):
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
    if not settings.bus.url:
        credentials.ensure(settings)
    configuration.write(settings, configuration.text(settings))


def guard_command(settings: Settings, python: str = "") -> list[str]:
    return [
        python or sys.executable,
        "-m",
        "cribus.cli.supervisor.daemon",
        str(configuration.conf(settings)),
    ]


def guard(settings: Settings, python: str = "") -> None:
    """Leave a guard behind, of this Python or another; if there is one, the new one sees it and ends."""
    with open(configuration.logs(settings) / "guard.log", "ab") as log:
        subprocess.Popen(
            guard_command(settings, python),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
