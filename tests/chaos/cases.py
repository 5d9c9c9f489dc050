"""One case: while an operation is under way and somebody has just done a step, these are killed; then the proof.

What is proven of each (`World.prove`, `Kill.over`), and where:

- the container runs on: it writes after the kill, and so does a bystander in another pod (lives.py, world.py);
- every line of both is in their logs, once and in order, to the last one, which says how many there were;
- the exit code is the program's own, or that of the signal that ended it;
- every event of pod and container is in the stream once and in order, with that exit code, and a client of
  GetContainerEvents that resumes hears each once (watch.py, news.py);
- the call succeeds, if it must be made again after UNAVAILABLE, ABORTED or DEADLINE_EXCEEDED;
- every kind of call works again within two seconds (recovery.py);
- nothing is left: no process, file, mount, cgroup, link, address, rule, record or key but those that were
  there before the case (leaks.py), and none of those is missing;
- nothing is stuck: no service is at anything any more.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tests.chaos.operations import IDLE, OPERATIONS, Operation
from tests.chaos.recovery import Kill
from tests.chaos.victims import NODE, POD
from tests.chaos.world import World

SELF = ("self",)
VICTIMS: tuple[tuple[str, ...], ...] = (
    *((one,) for one in (*NODE, *POD)),
    ("shim", "keeper"),
    ("shim", "shimd"),
    ("shim", "executor"),
    ("manager", "nats"),
    (*NODE, *POD),
)


def called(victims: tuple[str, ...]) -> str:
    """A name for them."""
    return "+".join(victims).replace(" ", "-") if len(victims) < 4 else "everything"


def survivable(operation: str, victims: tuple[str, ...]) -> bool:
    """A terminal whose two holders are killed in the same instant hangs up
    (docs/decisions/0013-stand-in-keeper.md): then there is no container to be proven."""
    return operation != "start-special" or not {"shim", "keeper"} <= set(victims)


class Passed(NamedTuple):
    """Which operations pass which steps: while their client waits, and on the way to nothing after that."""

    within: dict[str, list[str]]  # operation → steps
    around: dict[str, list[str]]

    def operations(self, step: str, draw: random.Random) -> list[str]:
        """Those that pass it, at best while the client waits. Fails when there are none."""
        for found in (self.within, self.around):
            if names := [one for one in found if step in found[one]]:
                return draw.sample(names, len(names))
        raise AssertionError(f"no operation passes {step}: tests/chaos/operations.py needs one that does")

    def steps(self, operation: str, draw: random.Random) -> list[str]:
        """Those that it passes, at best while its client waits."""
        found = sorted(self.within[operation] or self.around[operation])
        return draw.sample(found, len(found))


def passed(stage: World, names: Iterable[str] = OPERATIONS) -> Passed:
    """Runs each operation twice. What is passed only now and then, because something else was still going
    on, does not count."""
    found = Passed({}, {})
    for name in names:
        operation = OPERATIONS[name]
        first, second = _recorded(stage, operation), _recorded(stage, operation)
        found.within[name], found.around[name] = ([*(set(a) & set(b))] for a, b in zip(first, second, strict=True))
    return found


def _recorded(stage: World, operation: Operation) -> tuple[list[str], list[str]]:
    """The steps of the operation itself, and those of everything that follows."""
    life = operation.prepare(stage)
    with stage.faults.recorded() as found:
        operation.act(stage, life)
    with stage.faults.recorded() as later:
        stage.prove(life)
    return found, later


def check(stage: World, name: str, step: str, victims: tuple[str, ...]) -> bool:
    """Kill them when somebody has done the step while the operation of that name is under way. False where
    nobody did it this time: some steps are done ahead, at leisure."""
    print(f"operation {name}, step {step}")
    with _told_why(stage), stage.listened():
        return _Case(stage, name, (step, victims)).run()


def check_idle(stage: World, victims: tuple[str, ...]) -> None:
    """Kill them while nothing is asked."""
    with _told_why(stage), stage.listened():
        life = IDLE.prepare(stage)
        kill = Kill(stage.node, called(victims))
        stage.kill(victims, life)
        stage.whole_again(kill, life.container)
        stage.prove(life)
        if "keeper" in victims:
            stage.renew()


class _told_why:
    """A case that fails says what its client and the services saw, and leaves nothing to the next."""

    def __init__(self, stage: World) -> None:
        self._stage = stage

    def __enter__(self) -> None:
        self._began = time.time()
        self._stage.client.failures.clear()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            print(*Counter(self._stage.client.failures).items(), self._stage.said(self._began), sep="\n")
            self._stage.sweep()


class _Case:
    """The operation runs in a thread; the kill comes from the one that waits for the step."""

    def __init__(self, stage: World, name: str, at: tuple[str, tuple[str, ...]]) -> None:
        self._stage = stage
        self._act = OPERATIONS[name].act
        self._step, self._victims = at
        self._life = OPERATIONS[name].prepare(stage)
        # That operation kills the keeper; here the shim dies with it.
        self._life.orphaned = name == "orphan" and (self._step.startswith("shim.") or "shim" in self._victims)
        self._failures: list[BaseException] = []
        self._proven = threading.Event()
        self._kill: Kill | None = None

    def run(self) -> bool:
        stage = self._stage
        asking = threading.Thread(target=self._ask, name=self._step)
        with stage.faults.halt(self._step, self._strike) as struck:
            asking.start()
            while asking.is_alive() and not struck.wait(0.02):
                pass
            seen = struck.is_set()
            if seen:
                self._whole_again()
            asking.join(60)
            assert not asking.is_alive(), "the call hangs"
            if self._step.startswith("init.start.") and self._victims == SELF:
                self._life.code = 137  # from there on it is the container that is killed
            if self._failures:
                raise self._failures[0]
            late = threading.Thread(target=self._late, args=(struck,))
            if not seen:
                late.start()
            try:
                stage.prove(self._life)
            finally:  # also what is not proven ends the wait: the thread would keep pytest from ending
                self._proven.set()
                if not seen:
                    late.join(60)
            assert not late.is_alive(), "it is never whole again"
            if self._failures:
                raise self._failures[0]
        if "keeper" in self._victims or self._step.startswith("keeper."):
            stage.renew()
        return self._kill is not None

    def _late(self, struck: threading.Event) -> None:
        """The step is done on the way to nothing: measured from then on, not when all is proven."""
        while not struck.wait(0.02) and not self._proven.is_set():
            pass
        if struck.is_set():
            self._noted(self._whole_again)

    def _whole_again(self) -> None:
        assert self._kill is not None
        self._stage.whole_again(self._kill)

    def _ask(self) -> None:
        self._noted(lambda: self._act(self._stage, self._life))

    def _noted(self, work: Callable[[], None]) -> None:
        """In a thread: its failure is the case's."""
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised by the test itself
            self._failures.append(error)

    def _strike(self, _: int) -> str:
        whom = self._step.split(".")[0] if self._victims == SELF else called(self._victims)
        self._kill = Kill(self._stage.node, whom)
        if self._victims == SELF:
            return "9 0\n"
        self._stage.kill(self._victims, self._life)
        return ""


def drawn(seed: int, *words: str) -> random.Random:
    """One choice among many, the same for the same seed and words."""
    return random.Random(f"{seed}-{'-'.join(words)}")
