"""Print the node's events, one JSON object a line, with their sequence numbers.

Everything that is kept, or with --since what came after: a sequence number (42), so long ago (90s, 5m,
2h, 1d), or a time (2026-11-25T08:00:00Z). With --follow it goes on as things happen (without --since
from now on).
"""

import argparse
import datetime
import json
import time
from typing import Any, NamedTuple

import msgspec

from cribus.bus.events import Seen
from cribus.bus.service import Bus
from cribus.cli.session import ask

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}  # in seconds


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", type=since, default=None, metavar="WHEN", help="begin after this number or time")
    parser.add_argument("-f", "--follow", action="store_true", help="go on for ever")
    parser.add_argument("--kind", default="", help="only events of this kind (exited, sandbox_ready, …)")


def command(given: argparse.Namespace) -> int:
    async def conversation(bus: Bus) -> int:
        last = await bus.events.last()
        begin = given.since or Since(last if given.follow else 0, 0)
        if not given.follow and begin.sequence >= last:
            return 0
        async for seen in bus.follow(since=begin.sequence):
            if given.kind in ("", seen.event.kind) and seen.event.at >= begin.at:
                print(json.dumps(line(seen)), flush=True)
            if not given.follow and seen.sequence >= last:
                break
        return 0

    return ask(conversation)


class Since(NamedTuple):
    """Events after this sequence number, and not from before this time (ns since the epoch)."""

    sequence: int
    at: int


def since(text: str) -> Since:
    """What follows --since. Raises ArgumentTypeError."""
    if text.isdecimal():
        return Since(int(text), 0)
    if text[:-1].isdecimal() and text[-1] in _UNITS:
        return Since(0, time.time_ns() - int(text[:-1]) * _UNITS[text[-1]] * 10**9)
    try:
        return Since(0, int(datetime.datetime.fromisoformat(text).timestamp() * 1e9))
    except ValueError as error:
        wanted = "a sequence number (42), an age (90s, 5m, 2h, 1d) or a time (2026-11-25T08:00:00Z)"
        raise argparse.ArgumentTypeError(f"{text!r}: write {wanted}") from error


def line(seen: Seen) -> dict[str, Any]:
    """An event as a program reads it."""
    event = msgspec.structs.replace(seen.event, state=b"")  # packed, and what `cribus pods` shows
    return {"sequence": seen.sequence, **msgspec.to_builtins(event)}
