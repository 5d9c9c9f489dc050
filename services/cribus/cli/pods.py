"""List pods, newest first."""

import argparse
from typing import Any

from cribus.api import manager
from cribus.api.cri.sandbox import ListPodSandboxRequest, PodSandbox
from cribus.bus.service import Bus
from cribus.cli.output.table import age, short, show
from cribus.cli.session import ask

COLUMNS = ("pod", "created", "state", "name", "namespace", "attempt", "runtime")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="whole ids only")
    parser.add_argument("--json", action="store_true")


def command(given: argparse.Namespace) -> int:
    async def conversation(bus: Bus) -> int:
        found = (await bus.call(manager.LIST_SANDBOXES, ListPodSandboxRequest())).items
        found.sort(key=lambda one: one.created_at, reverse=True)
        if given.quiet:
            print("".join(f"{one.id}\n" for one in found), end="")
        else:
            show([row(one, short_ids=not given.json) for one in found], COLUMNS, as_json=given.json)
        return 0

    return ask(conversation)


def row(one: PodSandbox, *, short_ids: bool) -> dict[str, Any]:
    """One pod as a table has it, or with its whole id and time in ns for programs."""
    metadata = one.metadata
    return {
        "pod": short(one.id) if short_ids else one.id,
        "created": age(one.created_at) if short_ids else one.created_at,
        "state": "ready" if one.state == 0 else "notready",
        "name": metadata.name if metadata else "",
        "namespace": metadata.namespace if metadata else "",
        "attempt": metadata.attempt if metadata else 0,
        "runtime": one.runtime_handler or "cribus",
    }
