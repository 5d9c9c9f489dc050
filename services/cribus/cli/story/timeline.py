"""What happened to a pod, in order: requests with the time of each step in each process, and news."""

from typing import NamedTuple

from cribus.api import events
from cribus.api.events import Event
from cribus.api.trace import Span
from cribus.cli.output.table import short, size
from cribus.cli.story.causes import caller, concerns, is_root, method, roots
from cribus.cli.story.facts import Doing, Story

_SAID = {
    events.SANDBOX_READY: "pod is ready",
    events.SANDBOX_STOPPED: "pod is stopped",
    events.SANDBOX_REMOVED: "pod is removed",
    events.CONTAINER_CREATED: "{name} is created",
    events.CONTAINER_STARTED: "{name} runs",
    events.CONTAINER_REMOVED: "{name} is removed",
}


class Part(NamedTuple):
    """What one process did for a request: its steps as (name, ns)."""

    process: str
    took: int
    steps: list[tuple[str, int]]


class Entry(NamedTuple):
    """One thing that happened. `parts` of a request, by process."""

    at: int
    what: str
    took: int = 0
    detail: str = ""
    failure: str = ""
    parts: tuple[Part, ...] = ()


def timeline(story: Story) -> list[Entry]:
    """Requests and news by time."""
    names = {one.id: one.name or short(one.id) for one in story.containers}
    entries = [_request(one, story, names) for one in roots(story)]
    entries += [Entry(one.span.began, f"{method(one.span)} …", detail=_asked(one.span)) for one in _going(story)]
    entries += [made for event in story.events if (made := _news(event, names)) is not None]
    return sorted(entries, key=lambda one: one.at)


def _going(story: Story) -> list[Doing]:
    return [one for one in story.doing if is_root(one.span) and concerns(one.span, story)]


def _request(span: Span, story: Story, names: dict[str, str]) -> Entry:
    name = names.get(span.id) or span.told.get("name", "")
    about = [name, *(span.told[key] for key in ("image", "cmd", "timeout") if key in span.told)]
    inside = [one for one in story.spans if one is not span and _within(one, span)]
    return Entry(
        at=span.began,
        what=" ".join([method(span), *(one for one in about if one)]),
        took=span.took,
        detail=_asked(span),
        failure=span.failure,
        parts=tuple(parts(span, inside)),
    )


def _asked(span: Span) -> str:
    until = f", within {span.told['deadline']}" if "deadline" in span.told else ""
    return f"asked by {caller(span)}{until}"


def _within(span: Span, request: Span) -> bool:
    if span.trace:
        return span.trace == request.trace
    return request.began <= span.began <= request.began + request.took  # shims know no trace


def parts(request: Span, inside: list[Span]) -> list[Part]:
    """What each process did, in the order in which they began."""
    processes: dict[str, list[Span]] = {}
    if request.name.count("."):
        inside = [request, *inside]
    for span in sorted(inside, key=lambda one: one.began):
        processes.setdefault(span.name.partition(".")[0], []).append(span)
    found = []
    for process, spans in processes.items():
        verbs = [one for one in spans if one.name.count(".") == 1]
        steps = [one for one in spans if one.name.count(".") > 1]
        shown = steps or verbs
        took = sum(one.took for one in verbs) or sum(one.took for one in steps)
        found.append(Part(process, took, [(_label(one, shown), one.took) for one in shown]))
    return found


def _label(span: Span, among: list[Span]) -> str:
    """The step's own word, with its operation's where another has the same word."""
    words = span.name.split(".")
    same = {one.name for one in among if one.name.split(".")[-1] == words[-1]}
    return words[-1] if len(same) == 1 else " ".join(words[1:])


def _news(event: Event, names: dict[str, str]) -> Entry | None:
    name = names.get(event.id, short(event.id))
    if event.kind == events.EXITED:
        how = "OOM" if event.oom else f"signal {event.signal}" if event.signal else ""
        return Entry(event.at, f"{name} ended with exit code {event.exit_code}" + (f" ({how})" if how else ""))
    if event.kind == events.IMAGE_PULLED:
        return Entry(event.at, _image(event))
    if event.kind == events.SHIM_REPLACED:
        return Entry(event.at, f"shim replaced: {event.detail.get('how', '')}")
    if event.kind == events.SERVICE_REPLACED:
        return Entry(event.at, f"{event.id} hung and was replaced: {event.detail.get('why', '')}")
    if event.kind == events.LOG_LOST:
        return Entry(event.at, f"{name}: {_lost(event)}")
    if event.kind == events.SERVICE_STARTED:
        return Entry(event.at, f"{event.id} started (pid {event.detail.get('pid', '?')})")
    said = _SAID.get(event.kind)
    return Entry(event.at, said.format(name=name)) if said else None


def _lost(event: Event) -> str:
    cause = event.detail.get("cause", "")
    return (
        f"its log takes no more ({cause})" if cause else f"{event.detail.get('lost_bytes')} bytes of its log are lost"
    )


def _image(event: Event) -> str:
    told = event.detail
    amount = f", {size(int(told['bytes']))} in {told.get('seconds', '?')} s" if told.get("bytes") else ""
    source = f" from {told['source']}" if told.get("source") else ""
    return f"image {told.get('reference', event.id)} pulled{source}, {told.get('digest', event.id)}{amount}"
