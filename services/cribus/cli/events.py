"""Print the node's events, one JSON object a line, with their sequence numbers.

Everything that is kept, or with --since N what came after number N. With --follow it goes on as
things happen (without --since from now on).
"""

import argparse
import json
from typing import Any

import msgspec

from cribus.bus import subjects
from cribus.bus.events import Seen
from cribus.bus.service import Bus
from cribus.cli.session import ask


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", type=int, default=None, metavar="N", help="begin after this sequence number")
    parser.add_argument("-f", "--follow", action="store_true", help="go on for ever")
    parser.add_argument("--kind", default="", help="only events of this kind (exited, sandbox_ready, …)")


def command(given: argparse.Namespace) -> int:
    async def conversation(bus: Bus) -> int:
        last = await last_sequence(bus)
        since = given.since if given.since is not None else last if given.follow else 0
        if not given.follow and since >= last:
            return 0
        async for seen in bus.follow(since=since):
            if given.kind in ("", seen.event.kind):
                print(json.dumps(line(seen)), flush=True)
            if not given.follow and seen.sequence >= last:
                break
        return 0

    return ask(conversation)


def line(seen: Seen) -> dict[str, Any]:
    """An event as a program reads it."""
    return {"sequence": seen.sequence, **msgspec.to_builtins(seen.event)}


async def last_sequence(bus: Bus) -> int:
    """The number of the newest event, 0 when there never was one."""
    await bus.events.ensure()
    info = await bus.connection.nats.jetstream().stream_info(subjects.event_stream(bus.node))
    return int(info.state.last_seq)
