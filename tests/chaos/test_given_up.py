"""Every call given up by its client right after step k, for every step that it passes, and made again: it
ends in one object, whose life is as it should be, and nothing is left of the first attempt.

Usually each step is met in one call that passes it; `CRIBUS_MATRIX=all` meets it in all.
"""

import os
import random
import re
import threading
from contextlib import suppress

import grpc
import pytest

from tests.chaos.lives import Life
from tests.chaos.operations import OPERATIONS
from tests.chaos.world import World

ALL = os.environ.get("CRIBUS_MATRIX") == "all"
SEED = int(os.environ.get("CRIBUS_SEED", random.randrange(1 << 30)))
CALLS = (
    "run", "run-special", "create", "start", "start-special", "reopen-log", "stop", "kill", "remove-container",
    "stop-pod", "remove-pod", "pull",
)  # fmt: skip
_ID = re.compile(r"is taken by ([0-9a-f]{64})")


def _passed(stage: World, name: str) -> list[str]:
    """The steps that are passed while the call is under way."""
    life = OPERATIONS[name].prepare(stage)
    with stage.faults.recorded() as found:
        OPERATIONS[name].act(stage, life)
    stage.prove(life)
    return found


@pytest.fixture(scope="module")
def cases(stage: World) -> list[tuple[str, str]]:
    """(call, step)."""
    print(f"CRIBUS_SEED={SEED}")
    rng = random.Random(SEED)
    found = [(name, step) for name in CALLS for step in _passed(stage, name)]
    if not ALL:
        rng.shuffle(found)
        found = list({step: (name, step) for name, step in found}.values())
    return found


def _answered_already(life: Life, name: str, error: grpc.RpcError) -> bool:
    """The first answer was on its way when the client gave up: the refusal of the second says what there is."""
    taken = _ID.search(error.details() or "")
    if name.startswith("run") and taken:
        life.id = taken[1]
    elif name == "create" and taken:
        life.container = taken[1]
    elif name.startswith("start") and "is running" in (error.details() or ""):
        life.started = True
    else:
        return False
    return True


def _made_again(stage: World, life: Life, name: str) -> None:
    try:
        OPERATIONS[name].act(stage, life)
    except grpc.RpcError as error:
        if not _answered_already(life, name, error):
            raise


def _given_up(stage: World, name: str, step: str) -> bool:
    """Whether the client really gave up before it was answered."""
    life = OPERATIONS[name].prepare(stage)
    failures: list[BaseException] = []
    gave_up = False

    def act() -> None:
        try:
            _made_again(stage, life, name)
        except BaseException as error:  # noqa: BLE001 - raised by the test itself, below
            failures.append(error)

    def strike(_: int) -> str:
        nonlocal gave_up
        gave_up = stage.client.give_up()
        return ""

    asking = threading.Thread(target=act, name=name)
    with stage.faults.halt(step, strike) as struck:
        asking.start()
        while asking.is_alive() and not struck.wait(0.02):
            pass
        asking.join(60)
    if failures:
        raise failures[0]
    stage.prove(life)
    return gave_up


@pytest.mark.timeout(3000)
def test_given_up_after_each_step(stage: World, cases: list[tuple[str, str]]) -> None:
    bad: list[str] = []
    given_up = 0
    for name, step in cases:
        try:
            given_up += _given_up(stage, name, step)
        except Exception as error:  # noqa: BLE001 - every case is run
            bad.append(f"{name} given up after {step}: {type(error).__name__} {error}")
            with suppress(AssertionError):
                stage.sweep()
    print(f"{given_up} of {len(cases)} were given up before they were answered")
    assert not bad, f"CRIBUS_SEED={SEED}\n" + "\n".join(bad)
    assert given_up * 2 > len(cases), f"only {given_up} of {len(cases)} were given up before they were answered"
