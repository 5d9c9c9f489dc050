#!/usr/bin/env python3
"""Redraw what docs/architecture.md says from the code itself: who calls whom, the verbs, the states.

Usage: python deploy/draw.py [--check]    (--check changes nothing and ends with 1 when a drawing is old)

A drawing stands between `<!-- draw NAME -->` and `<!-- end -->`.
"""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cribus.api import executor, images, manager, shim, shimd
from cribus.api.verb import Verb
from cribus.bus.credentials import CALLS
from cribus.manager import lifecycle
from cribus.manager.records import State

PAGE = Path(__file__).resolve().parent.parent / "docs" / "architecture.md"
SERVICES = {"manager": manager, "images": images, "shimd": shimd, "shim": shim, "executor": executor}


def calls() -> str:
    """Who may call whom, as the bus's permissions have it."""
    arrows = [f"    {caller} --> {peer}" for caller, peers in CALLS.items() for peer in peers if caller != "cli"]
    return "\n".join(
        ["```mermaid", "flowchart TD", "    kubelet([kubelet, crictl]) -- gRPC --> gateway", *arrows, "```"]
    )


def verbs() -> str:
    """A row a service: what it can be asked."""
    rows = ["| service | verbs |", "| --- | --- |"]
    for name, module in SERVICES.items():
        known = [value for value in vars(module).values() if isinstance(value, Verb)]
        rows.append(f"| {name} | {', '.join(f'`{verb.name}{_address(verb)}`' for verb in known)} |")
    return "\n".join(rows)


def _address(verb: Verb[Any, Any]) -> str:
    return ".<id>" if verb.addressed else ""


def states(table: Mapping[State, tuple[State, ...]]) -> str:
    """A state diagram; a state that may be reached again from itself has an arrow to itself."""
    arrows = [f"    {state} --> {to}" for state, reachable in table.items() for to in reachable]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {State.CREATING}", *arrows, "```"])


DRAWINGS: dict[str, Callable[[], str]] = {
    "calls": calls,
    "verbs": verbs,
    "pod states": lambda: states(lifecycle.SANDBOX),
    "container states": lambda: states(lifecycle.CONTAINER),
}


def drawn(text: str) -> str:
    """The page with every drawing as the code has it now. Raises KeyError for a name that is not known."""

    def drawing(found: re.Match[str]) -> str:
        return f"<!-- draw {found[1]} -->\n{DRAWINGS[found[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- draw ([a-z ]+) -->\n.*?<!-- end -->", drawing, text, flags=re.DOTALL)


def main(argv: list[str]) -> int:
    old = PAGE.read_text()
    new = drawn(old)
    if "--check" in argv:
        return int(new != old)
    PAGE.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
