"""Kill the node's processes at random while pods run, and prove that nobody noticed.

Makes pods of its own whose containers number their lines, some of images that they pull from a registry of the
storm's own, which fails. Kills shims and keepers of these pods and the node's services, and proves: every line
once and in order, every exit code, every event, every pulled image whole, nothing left behind, nothing stuck.
The same seed makes the same pods, the same kills and the same faults. Ctrl-C ends it early, with
clean-up and the verdict so far. The exit code is 1 when something was found.
"""

import argparse
import asyncio
import json
import random
import re
import signal
import sys
from typing import TYPE_CHECKING

from cribus import config
from cribus.cli.output.table import complain
from cribus.cli.session import connected
from cribus.cli.storm import others, victims
from cribus.cli.supervisor import control
from cribus.config import Settings
from cribus.errors import FailedPrecondition, InvalidArgument

if TYPE_CHECKING:
    from cribus.cli.storm import storm

FAILED = 2  # exit code when it could not be made
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seed", type=int, default=None, metavar="N", help="of all chance (default: another each time)"
    )
    parser.add_argument(
        "--for", type=seconds, default=60.0, dest="time", metavar="TIME", help="90s, 10m, 1h (default 1m)"
    )
    parser.add_argument("--kills", type=int, default=0, metavar="N", help="end when so many processes were killed")
    parser.add_argument("--pods", type=int, default=4, metavar="N", help="pods at a time (default 4)")
    parser.add_argument(
        "--victims", default="", metavar="KINDS", help="kill only these, by comma (default: every kind)"
    )
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask first")
    parser.add_argument("--json", action="store_true", help="print everything that was seen as JSON; implies --yes")


def seconds(text: str) -> float:
    """Of 90s, 10m, 1h. Raises ArgumentTypeError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not found or not float(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r}: write a time as 90s, 10m or 1h")
    return float(found[1]) * _UNITS[found[2]]


def command(given: argparse.Namespace) -> int:
    settings = config.load()
    if not control.supervised(settings):
        raise FailedPrecondition("the node is not running; `cribus up` starts it")
    try:
        return asyncio.run(_storm(settings, given))
    except asyncio.CancelledError:
        complain("called off; the storm's pods were removed")
        return 130


async def _storm(settings: Settings, given: argparse.Namespace) -> int:
    from cribus.cli.storm import page, storm  # with gRPC: no other command needs it

    wish = storm.Wish(
        random.randrange(1 << 31) if given.seed is None else given.seed,
        given.time,
        given.kills,
        max(1, given.pods),
        _kinds(settings, given.victims),
    )
    async with connected(settings) as bus:
        there = await others.running(bus)
    if not given.json:
        print(page.promise(wish, settings.node, len(there.pods)), flush=True)
        _agreed(yes=given.yes)
    progress = page.Progress(quiet=given.json)
    one = storm.Storm(settings, wish, progress)
    _on_interrupt(one)
    try:
        result = await one.run()
    finally:
        progress.close()
    print(
        json.dumps({**result.document(), "recovery": page.recoveries(result.hits)}, indent=2)
        if given.json
        else page.verdict(result)
    )
    return int(bool(result.findings))


def _kinds(settings: Settings, wanted: str) -> list[str]:
    try:
        return victims.kinds(settings, wanted)
    except KeyError as error:
        known = ", ".join(victims.kinds(settings))
        raise InvalidArgument(f"--victims {error.args[0]}: what can be killed here is {known}") from error


def _agreed(*, yes: bool) -> None:
    """Raises FailedPrecondition unless whoever is there wants it."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise FailedPrecondition("nobody can be asked here; say --yes if you want this")
    if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise FailedPrecondition("nothing was done")


def _on_interrupt(one: "storm.Storm") -> None:
    """Once: end early, with the verdict so far. Twice: end now, only the pods are removed."""
    task = asyncio.current_task()
    assert task is not None

    def told() -> None:
        if one.interrupted:
            task.cancel()
        one.interrupt()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told)
