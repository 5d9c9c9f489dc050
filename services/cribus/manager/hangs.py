"""The news that a process of the node hung and was replaced: who replaces it writes that on the node's page
(pulse.py), because it may have no bus, and the manager tells it."""

from collections.abc import Callable

from cribus.api.events import SERVICE_REPLACED, Event
from cribus.pulse import Page


def look(page: Page, tell: Callable[[Event], None]) -> None:
    """Tell every hang that no manager has told yet, the last of each program."""
    for name in page.names():
        count, at, why = page.hangs(name)
        if count and count != page.told(name):
            detail = {"why": why, "generation": str(page.generation(name)), "times": str(count)}
            tell(Event(kind=SERVICE_REPLACED, id=name, at=at, detail=detail))
            page.tell(name, count)
