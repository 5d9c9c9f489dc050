"""Killed right after step k, for every step that there is; and every process killed during every operation,
and while nothing happens. What is proven of each case: cases.py.

Whoever did the step is halted there, and it or another process of the node is killed at that moment. A pod
that has nothing to do with it writes through all cases.

Usually each step is met in one operation that passes it, and each set of other victims in some operations, at
one of their steps, chosen by $CRIBUS_SEED. `CRIBUS_MATRIX=pairs` kills each set of victims in each operation,
`CRIBUS_MATRIX=all` also after each step, in one operation.
"""

import os
import random
from collections.abc import Callable

import pytest

from tests.chaos.cases import SELF, VICTIMS, Passed, called, check, check_idle, drawn, survivable
from tests.chaos.cases import passed as recorded
from tests.chaos.faults import known
from tests.chaos.operations import OPERATIONS
from tests.chaos.world import World

EXTENT = os.environ.get("CRIBUS_MATRIX", "")
SEED = int(os.environ.get("CRIBUS_SEED", random.randrange(1 << 30)))
STEPS = known()
_ROUNDS = 2  # usually each operation meets so many sets of victims

Check = Callable[[World, Passed], None]


@pytest.fixture(scope="session")
def passed(stage: World) -> Passed:
    return recorded(stage)


def _after(step: str, victims: tuple[str, ...]) -> Check:
    def case(stage: World, passed: Passed) -> None:
        draw = drawn(SEED, step, *victims)
        names = [name for name in passed.operations(step, draw) if survivable(name, victims)]
        assert not names or any(check(stage, name, step, victims) for name in names), "never passed"

    return case


def _during(operation: str, victims: tuple[str, ...]) -> Check:
    def case(stage: World, passed: Passed) -> None:
        draw = drawn(SEED, operation, *victims)
        assert any(check(stage, operation, step, victims) for step in passed.steps(operation, draw)), "none passed"

    return case


def _idle(victims: tuple[str, ...]) -> Check:
    return lambda stage, passed: check_idle(stage, victims)


def _pairs() -> list[tuple[str, tuple[str, ...]]]:
    """Operations with victims: all, or each of either at least twice."""
    if EXTENT:
        return [(name, victims) for name in OPERATIONS for victims in VICTIMS if survivable(name, victims)]
    draw = random.Random(SEED)
    names, others = ([*OPERATIONS] * _ROUNDS, draw.sample(VICTIMS, len(VICTIMS)))
    draw.shuffle(names)
    pairs = dict.fromkeys((name, others[at % len(others)]) for at, name in enumerate(names))
    return [pair for pair in pairs if survivable(*pair)]


def _cases() -> list[tuple[str, Check]]:
    """In an order in which no service dies again and again before it has lived for a second: supervisord
    would take it for one that cannot start, and pause."""
    after = [(step, victims) for step in STEPS for victims in ((SELF, *VICTIMS) if EXTENT == "all" else (SELF,))]
    cases = [(f"after-{step}-{called(victims)}", _after(step, victims)) for step, victims in after]
    cases += [(f"during-{name}-{called(victims)}", _during(name, victims)) for name, victims in _pairs()]
    cases += [(f"idle-{called(victims)}", _idle(victims)) for victims in VICTIMS]
    random.Random(SEED).shuffle(cases)
    return cases


@pytest.mark.parametrize("case", [pytest.param(check, id=name) for name, check in _cases()])
def test_killed(stage: World, passed: Passed, case: Check) -> None:
    print(f"CRIBUS_SEED={SEED}")
    case(stage, passed)
