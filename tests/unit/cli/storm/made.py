"""Evidence of lives as they should be, for tests that falsify it."""

from cribus.api import events
from cribus.cli.storm import plan
from cribus.cli.storm.evidence import Command, Lived, Ran, Told

POD, CONTAINER = "a" * 64, "b" * 64


def container(end: str = plan.EXIT, code: int = 3, lines: int = 4) -> plan.Container:
    return plan.Container(end, code if end in (plan.EXIT, plan.TERM) else plan.KILLED, lines, 500, False, ())


def text(*said: str) -> str:
    return "".join(f"2026-11-25T08:00:00.000000000Z stdout F {one}\n" for one in said)


def lines(count: int) -> list[str]:
    return [f"line {k}" for k in range(1, count + 1)]


def ran(planned: plan.Container) -> Ran:
    """It was seen to do what was planned."""
    ends = planned.end in (plan.EXIT, plan.TERM)
    said = [*lines(planned.lines), *([f"bye {planned.lines}"] if ends else [])]
    code = None if planned.end == plan.REMOVE else planned.code
    found = Command(("storm-1-1", 5), ("storm-1-1", 5))
    return Ran(planned, id=CONTAINER, started=True, code=code, text=text(*said), commands=[found])


def lived(planned: plan.Container | None = None) -> Lived:
    one = planned or container()
    return Lived(plan.Life(1, (one,), {}), "storm-1-1", pod=POD, ran=[ran(one)], over=True)


def told(planned: plan.Container | None = None) -> list[Told]:
    code = (planned or container()).code
    return [
        Told(events.SANDBOX_READY, POD, POD),
        Told(events.CONTAINER_CREATED, CONTAINER, POD),
        Told(events.CONTAINER_STARTED, CONTAINER, POD),
        Told(events.EXITED, CONTAINER, POD, code),
        Told(events.CONTAINER_STOPPED, CONTAINER, POD, code),
        Told(events.SANDBOX_STOPPED, POD, POD),
        Told(events.CONTAINER_REMOVED, CONTAINER, POD),
        Told(events.SANDBOX_REMOVED, POD, POD),
    ]
