"""Run a command in a running container and end with its exit code.

CONTAINER is an id, the beginning of one, or a name; a pod means its one container.
"""

import argparse
import sys

from cribus.api import shim
from cribus.bus.service import Bus
from cribus.cli import target
from cribus.cli.session import ask
from cribus.cli.terminal import Session

FAILED = 125  # exit code of what went wrong before or around the command, not in it


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-i", "--stdin", action="store_true", help="pass standard input on")
    parser.add_argument("-t", "--tty", action="store_true", help="give the command a terminal")
    parser.add_argument("-it", action="store_true", dest="both", help=argparse.SUPPRESS)
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument("cmd", nargs=argparse.REMAINDER, metavar="CMD")


def command(given: argparse.Namespace) -> int:
    cmd = given.cmd[1:] if given.cmd[:1] == ["--"] else given.cmd
    if not cmd:
        print("cribus exec: which command? (cribus exec CONTAINER CMD…)", file=sys.stderr)
        return 2
    stdin, tty = given.stdin or given.both, given.tty or given.both

    async def conversation(bus: Bus) -> int:
        container = await target.container(bus, given.container)

        async def opened(stream: str) -> None:
            wanted = shim.OpenExec(
                container=container, stream=stream, cmd=cmd, tty=tty, stdin=stdin, stdout=True, stderr=not tty
            )
            await bus.call(shim.EXEC, wanted, id=container)

        return await Session(bus, stdin=stdin, tty=tty).run(opened)

    return ask(conversation)
