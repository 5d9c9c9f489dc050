"""The proof: pure functions from what was seen to what should not be. No finding, no doubt left: a check that
cannot be made is a finding too."""

import re

from cribus.api import events
from cribus.cli.storm.evidence import Finding, Lived, Pulled, Ran, Told
from cribus.cli.storm.plan import EXIT, NOT_WHOLE, REMOVE, TERM

LINES, CODES, COMMANDS, EVENTS, IMAGES, STUCK, LEAKS, NODE = (
    "lines",
    "exit codes",
    "commands",
    "events",
    "images",
    "stuck",
    "leaks",
    "node",
)
CHECKS = {
    LINES: "every line once and in order",
    CODES: "every exit code",
    COMMANDS: "every command's output and exit code",
    EVENTS: "every event once and in order",
    IMAGES: "every pulled image whole, and then gone",
    STUCK: "no call and no object stuck",
    LEAKS: "nothing left behind",
    NODE: "the node whole, other pods as they were",
}
_LINE = re.compile(r"\S+ (stdout|stderr) F (.*?)\r?")
_ALL = (
    events.SANDBOX_READY,
    events.SANDBOX_STOPPED,
    events.SANDBOX_REMOVED,
    events.CONTAINER_CREATED,
    events.CONTAINER_STARTED,
    events.CONTAINER_STOPPED,
    events.CONTAINER_REMOVED,
)
_CONTAINER = [events.CONTAINER_CREATED, events.CONTAINER_STARTED, events.CONTAINER_STOPPED, events.CONTAINER_REMOVED]
_NEVER_STARTED = [events.CONTAINER_CREATED, events.CONTAINER_REMOVED]
_POD = [events.SANDBOX_READY, events.SANDBOX_STOPPED, events.SANDBOX_REMOVED]
_WHOLE = (_POD, _CONTAINER, _NEVER_STARTED)


def of(lived: Lived) -> list[Finding]:
    """What is wrong with one life, but for its events."""
    found = [Finding(STUCK, f"{lived.name}: {lived.trouble}")] if lived.trouble else []
    if not lived.over and not lived.trouble:
        found.append(Finding(STUCK, f"{lived.name}: did not come to its end"))
    if lived.pulled is not None:
        found += [Finding(IMAGES, f"{lived.name}: {one}") for one in _wrong_image(lived.pulled)]
    for number, ran in enumerate(lived.ran):
        name = f"{lived.name}/{number}"
        if f" {NOT_WHOLE}" in ran.text:
            found.append(Finding(IMAGES, f"{name} ({ran.id[:13]}): files of its image are not what was pulled"))
        if ran.started:
            found += [
                Finding(LINES, f"{name} ({ran.id[:13]}): {one}") for one in wrong_lines(ran, cut=bool(lived.trouble))
            ]
        found += [Finding(CODES, f"{name} ({ran.id[:13]}): {one}") for one in _wrong_code(ran, cut=bool(lived.trouble))]
        for one in ran.commands:
            if one.found != one.wanted:
                found.append(Finding(COMMANDS, f"{name}: wanted {one.wanted}, got {one.found}"))
    return found


def _wrong_image(pulled: Pulled) -> list[str]:
    wrong = []
    if pulled.answered not in ("", pulled.id):
        wrong.append(f"the pull of {pulled.reference} answered {pulled.answered}, where the image is {pulled.id}")
    if pulled.left:
        wrong.append(f"{pulled.reference} was still there after it was removed")
    return wrong


def wrong_lines(ran: Ran, *, cut: bool = False) -> list[str]:
    """What is wrong with a log; `cut`: the container may not have come to its end."""
    said = []
    for line in ran.text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            return [f"no whole line of a CRI log: {line!r}"]
        if match[2] != NOT_WHOLE:  # which is another finding
            said.append(match[2])
    ends = ran.plan.end in (EXIT, TERM) and (not cut or (said[-1:] != [] and said[-1].startswith("bye")))
    count = len(said) - 1 if ends else len(said)
    for number, have in enumerate(said[:count], start=1):
        if have != f"line {number}":
            return [f"after line {number - 1} of {count} came {have!r}"]
    if ends and said[-1:] != [f"bye {count}"]:
        return [f"the container said last how many lines it wrote, the log ends {said[-2:]} after {count}"]
    wanted = ran.plan.lines
    if (count < wanted and not cut) or (ran.plan.end == EXIT and ends and count != wanted):
        return [f"{count} lines, where {wanted} were written"]
    return []


def _wrong_code(ran: Ran, *, cut: bool) -> list[str]:
    if ran.code is None:
        return [] if cut or ran.plan.end == REMOVE else ["its exit code was never asked for"]
    return [] if ran.code == ran.plan.code else [f"exit code {ran.code}, where it ended with {ran.plan.code}"]


def wrong_events(lives: list[Lived], told: list[Told]) -> list[Finding]:
    """Each event of a life's pod and containers once, in order, the exit with its true code."""
    by_id: dict[str, list[Told]] = {}
    for one in told:
        by_id.setdefault(one.id, []).append(one)
    found = []
    for lived in lives:
        if lived.trouble:
            continue  # that it did not come to its end is a finding already
        found += [
            Finding(EVENTS, f"{lived.name} ({lived.pod[:13]}): {one}") for one in _of_pod(by_id.get(lived.pod, []))
        ]
        for ran in lived.ran:
            wrong = _of_container(ran, by_id.get(ran.id, []))
            found += [Finding(EVENTS, f"{lived.name} ({ran.id[:13]}): {one}") for one in wrong]
    return found


def _of_pod(told: list[Told]) -> list[str]:
    kinds = [one.kind for one in told if one.kind in _POD]
    return [] if kinds == _POD else [f"told {kinds}, not {_POD}"]


def _of_container(ran: Ran, told: list[Told]) -> list[str]:
    wanted = _CONTAINER if ran.started else _NEVER_STARTED
    kinds = [one.kind for one in told if one.kind in _CONTAINER]
    wrong = [] if kinds == wanted else [f"told {kinds}, not {wanted}"]
    for one in told:
        if one.kind == events.CONTAINER_STOPPED and (one.known, one.code) != (True, ran.plan.code):
            said = one.code if one.known else "unknown"
            wrong.append(f"its end was told with exit code {said}, where it ended with {ran.plan.code}")
    return wrong


def strangers(lives: list[Lived], told: list[Told]) -> list[Finding]:
    """What a call made that nobody was told of, because its client had gone: it must be gone too, whole.

    `told` are events of pods of this storm, known or not.
    """
    known = {lived.pod for lived in lives} | {ran.id for lived in lives for ran in lived.ran}
    by_id: dict[str, list[str]] = {}
    for one in told:
        if one.id not in known and one.kind in _ALL:
            by_id.setdefault(one.id, []).append(one.kind)
    wrong = [(id, kinds) for id, kinds in by_id.items() if kinds not in _WHOLE]
    return [Finding(EVENTS, f"{id[:13]}, made for a client that had gone: told {kinds}") for id, kinds in wrong]
