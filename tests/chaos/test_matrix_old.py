"""A sample of the matrix on a kernel that forgets how reaped processes ended (before Linux 6.15), which
$CRIBUS_NO_EXIT_INFO makes of any: keeper and fork server are the only witnesses then.

Killed after each step on the way of an exit, and every process around it while something ends. Left out is
who is the only witness: the executor's fork server of a further process in a container (exec).
"""

import os
import random
from collections.abc import Iterator

import pytest

from tests.chaos.cases import SELF, Passed, called, check, drawn
from tests.chaos.cases import passed as recorded
from tests.chaos.faults import known
from tests.chaos.world import World, world

SEED = int(os.environ.get("CRIBUS_SEED", random.randrange(1 << 30)))
EXITS = ("keeper.exit.", "shim.exit.", "shim.exec.exited", "forkserver.run.reaped", "executor.kill.", "manager.stop.")
STEPS = [step for step in known() if step.startswith(EXITS)]
ENDS = ("exit", "stop", "stop-slow", "kill", "remove-pod", "exec-sync", "orphan")
EXECS = ("exec-sync", "orphan")  # which end with an exec
PARENTS = (("executor",), ("executor fork server",))
WITNESSES = (("keeper",), ("shim",), ("executor",), ("executor fork server",), ("shimd",), ("manager", "nats"))


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("old"), CRIBUS_NO_EXIT_INFO="1") as one:
        yield one


@pytest.fixture(scope="module")
def passed(old: World) -> Passed:
    return recorded(old, ENDS)


@pytest.mark.parametrize("step", STEPS)
def test_killed_after(old: World, passed: Passed, step: str) -> None:
    print(f"CRIBUS_SEED={SEED}")
    names = passed.operations(step, drawn(SEED, step))
    if step == "forkserver.run.reaped":  # the code of an exec that its parent has reaped and not told is told as 255
        names = [name for name in names if name not in EXECS]
    assert any(check(old, name, step, SELF) for name in names), "never passed"


@pytest.mark.parametrize(
    ("name", "victims"),
    [
        pytest.param(name, victims, id=f"{name}-{called(victims)}")
        for name in ENDS
        for victims in WITNESSES
        if name not in EXECS or victims not in PARENTS
    ],
)
def test_killed_during(old: World, passed: Passed, name: str, victims: tuple[str, ...]) -> None:
    print(f"CRIBUS_SEED={SEED}")
    steps = passed.steps(name, drawn(SEED, name, *victims))
    assert any(check(old, name, step, victims) for step in steps), "none passed"
