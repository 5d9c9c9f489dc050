"""Killed right after step k, for every step that there is, of every operation.

Whoever did the step is halted there, and it or another process of the node is killed at that moment. Then
the call succeeds, if it must be made again; the API is whole within two seconds; the pod at stake ran on, or
ended, as it should, with every line of its output, its true exit code and each of its events once; nothing
is left. A pod that has nothing to do with it writes through all cases.

Usually each step is met in one operation that passes it, and a sample of the other victims is killed, both
chosen by $CRIBUS_SEED. `CRIBUS_MATRIX=all pytest tests/chaos/test_matrix.py` does everything.
"""

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.chaos.faults import known
from tests.chaos.lives import Life
from tests.chaos.operations import OPERATIONS, Operation
from tests.chaos.victims import NODE, POD
from tests.chaos.world import World, limit

ALL = os.environ.get("CRIBUS_MATRIX") == "all"
SEED = int(os.environ.get("CRIBUS_SEED", random.randrange(1 << 30)))
SELF = ("self",)
OTHERS: tuple[tuple[str, ...], ...] = (
    *((one,) for one in (*NODE, *POD)),
    ("shim", "keeper"),
    ("shim", "shimd"),
    ("shim", "executor"),
    ("manager", "nats"),
    (*NODE, *POD),
)
_SAMPLE = 24  # cases with other victims, where not all are run
STEPS = known()


class Case(NamedTuple):
    """At `step` of an operation, these are killed; `draw` chooses the operation, where not all are run."""

    step: str
    victims: tuple[str, ...]
    draw: random.Random

    def __str__(self) -> str:
        return f"{self.step}-{'+'.join(self.victims) if len(self.victims) < 4 else 'everything'}"


def _cases() -> list[Case]:
    """In an order in which no service dies again and again before it has lived for a second: supervisord
    would take it for one that cannot start, and pause."""
    cases = list(_all_cases())
    random.Random(SEED).shuffle(cases)
    return cases


def _all_cases() -> Iterator[Case]:
    draw = random.Random(SEED)
    others = [(step, victims) for step in STEPS for victims in OTHERS]
    for step, victims in [(step, SELF) for step in STEPS] + (others if ALL else draw.sample(others, _SAMPLE)):
        yield Case(step, victims, random.Random(f"{SEED}-{step}-{victims}"))


@pytest.fixture(scope="session")
def passed(stage: World) -> dict[str, list[str]]:
    """Which operations pass a step: at best while the client waits, else on the way to nothing. What is
    passed only now and then, because something else was still going on, does not count."""
    within: dict[str, list[str]] = {}
    around: dict[str, list[str]] = {}
    for name, operation in OPERATIONS.items():
        first, second = _recorded(stage, operation), _recorded(stage, operation)
        for found, again, into in zip(first, second, (within, around), strict=True):
            for step in set(found) & set(again):
                into.setdefault(step, []).append(name)
    return {**around, **within}


def _recorded(stage: World, operation: Operation) -> tuple[list[str], list[str]]:
    """The steps of the operation itself, and those of everything that follows."""
    life = operation.prepare(stage)
    with stage.faults.recorded() as found:
        operation.act(stage, life)
    with stage.faults.recorded() as later:
        stage.prove(life)
    return found, later


@pytest.mark.parametrize("case", _cases(), ids=str)
def test_killed_after(stage: World, passed: dict[str, list[str]], case: Case) -> None:
    print(f"CRIBUS_SEED={SEED}")
    assert case.step in passed, f"no operation passes {case.step}: tests/chaos/operations.py needs one that does"
    names = passed[case.step]
    for name in names if ALL else [case.draw.choice(names)]:
        print(f"operation {name}")
        began = time.time()
        stage.client.failures.clear()
        try:
            _one(stage, name, case)
        except BaseException:
            print(*Counter(stage.client.failures).items(), stage.said(began), sep="\n")
            stage.sweep()
            raise


def _one(stage: World, name: str, case: Case) -> None:
    operation = OPERATIONS[name]
    life = operation.prepare(stage)
    # That operation kills the keeper; here the shim dies with it.
    life.orphaned = name == "orphan" and (case.step.startswith("shim.") or "shim" in case.victims)
    failures: list[BaseException] = []
    at = took = 0.0

    def act() -> None:
        try:
            operation.act(stage, life)
        except BaseException as error:  # noqa: BLE001 - raised by the test itself, below
            failures.append(error)

    def strike(_: int) -> str:
        nonlocal at
        at = time.monotonic()
        if case.victims != SELF:
            stage.kill(case.victims, life)
        return "9 0\n" if case.victims == SELF else ""

    asking = threading.Thread(target=act, name=name)
    with stage.faults.halt(case.step, strike) as struck:
        asking.start()
        while asking.is_alive() and not struck.wait(0.02):
            pass
        if struck.is_set():
            took = stage.whole_again(at)
        asking.join(60)
        if case.step.startswith("init.start.") and case.victims == SELF:
            life.code = 137  # from there on it is the container that is killed
        _go_on(stage, life, failures)
        if not at:
            assert struck.wait(5), f"{name} did not pass {case.step} this time"
            took = stage.whole_again(at)
    # With supervisord every service ends and begins anew: that many interpreters start at once.
    most = limit() * (3 if "supervisord" in case.victims else 1)
    assert took < most, f"whole again after {took:.2f} s"
    if "keeper" in case.victims or case.step.startswith("keeper."):
        stage.renew()


def _go_on(stage: World, life: Life, failures: list[BaseException]) -> None:
    if failures:
        raise failures[0]
    stage.prove(life)
