"""Say why a pod is as it is: one page of who asked what, what each step took, who killed whom, what hangs.

POD is a name or the beginning of an id, of a pod or one of its containers; also of one that was
removed, or was never made. Ends with 0 when nothing is wrong, else with 1.
"""

import argparse
import json
from typing import Any

import msgspec

from cribus import config
from cribus.bus.service import Bus
from cribus.cli.session import ask
from cribus.cli.story.causes import CAUSE, Cause, causes
from cribus.cli.story.facts import Story
from cribus.cli.story.gather import story
from cribus.cli.story.timeline import Entry, timeline

FAILED = 2  # exit code when the question cannot be answered


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pod", metavar="POD")
    parser.add_argument("--json", action="store_true", help="causes, timeline and all that is known, as JSON")


def command(given: argparse.Namespace) -> int:
    settings = config.load()

    async def conversation(bus: Bus) -> int:
        found = await story(bus, settings, given.pod)
        why, entries = causes(found), timeline(found)
        if given.json:
            print(json.dumps(document(found, why, entries), indent=2))
        else:
            from cribus.cli.story import page

            page.show(found, why, entries)
        return int(any(one.level == CAUSE for one in why))

    return ask(conversation)


def document(found: Story, why: list[Cause], entries: list[Entry]) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "causes": [one._asdict() for one in why],
        "timeline": [{**one._asdict(), "parts": [part._asdict() for part in one.parts]} for one in entries],
        **msgspec.to_builtins(found),
    }
