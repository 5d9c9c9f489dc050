"""A pod's story, piece by piece, for the tests of what is made of it."""

from typing import Any

import msgspec
from cribus.api import events
from cribus.api.events import Event
from cribus.api.trace import Span
from cribus.cli.story.facts import Container, Doing, Story

POD, APP, SECOND = "a" * 64, "c" * 64, 10**9
BEGIN = 1_700_000_000 * SECOND
WHO = {"caller": "crictl (pid 7)"}


def span(name: str, at: float = 0.0, **more: Any) -> Span:
    """A span that began so many seconds into the story."""
    more.setdefault("took", 5_000_000)
    return Span(name=name, began=BEGIN + int(at * SECOND), **more)


def event(kind: str, at: float = 0.0, **more: Any) -> Event:
    more.setdefault("id", APP)
    return Event(kind=kind, at=BEGIN + int(at * SECOND), pod=POD, **more)


def story(**more: Any) -> Story:
    """A pod `web` with a container `app` that runs."""
    whole = Story(
        node="unit",
        now=BEGIN + 60 * SECOND,
        pod=POD,
        name="web",
        namespace="shop",
        state="ready",
        created=BEGIN,
        known_since=BEGIN,
        containers=[Container(id=APP, name="app", state="running", image="a/b:1")],
    )
    return msgspec.structs.replace(whole, **more)


def kill(number: int, at: float, trace: str = "t2") -> Span:
    return span("executor.kill", at, id=APP, trace=trace, told={"caller": "manager", "signal": str(number)})


def stop(at: float, trace: str = "t2", **more: Any) -> Span:
    return span("StopContainer", at, id=APP, trace=trace, told={**WHO, **more})


def ended(at: float = 30.0, **more: Any) -> Event:
    return event(events.EXITED, at, **more)


def doing(name: str, at: float, thread: int = 0, **more: Any) -> Doing:
    return Doing(service=name.partition(".")[0], pid=77, thread=thread, span=span(name, at, took=0, **more))
