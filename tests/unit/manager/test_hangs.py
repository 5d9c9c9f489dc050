from pathlib import Path

from cribus.api.events import SERVICE_REPLACED, Event
from cribus.manager import hangs
from cribus.pulse import Page


def test_a_hang_is_told_once_whoever_is_the_manager(tmp_path: Path) -> None:
    (tmp_path / "supervisor").mkdir()
    page = Page(str(tmp_path))
    page.ensure()
    page.begin("nats")
    page.begin("images")
    told: list[Event] = []
    hangs.look(page, told.append)
    assert told == []
    page.hung("nats", "no sign of life")
    now = page.begin("nats")
    hangs.look(page, told.append)
    hangs.look(Page(str(tmp_path)), told.append)
    [event] = told
    assert (event.kind, event.id) == (SERVICE_REPLACED, "nats")
    assert event.detail == {"why": "no sign of life", "generation": str(now), "times": "1"}
    page.hung("nats", "again")
    hangs.look(page, told.append)
    assert [one.detail["why"] for one in told] == ["no sign of life", "again"]
