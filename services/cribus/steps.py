"""Steps: what an operation does, piece after piece, each under a name that is written once.

A step's name is `<process>.<operation>.<piece>`. While a step is being done its passage is in
`going`, so that whoever asks what hangs can be told; when it is over, `heard` gets it.

With $CRIBUS_FAULTS, a folder that only tests set, a file there with a step's name is a fault: the
first process that has done the step takes the file away and sends the signals written in it, a line
each, `<signal> <pid>`, pid 0 being the process itself. So a test can kill right after every step
that there is.

This loads next to nothing, because processes forked from small ones use it too.
"""

import os
import signal
import time

_FAULTS = os.environ.get("CRIBUS_FAULTS", "")


class Step:
    """One named piece of an operation. Made when its module is imported; `known` has all of them.

    Raises ValueError for a name that another step has.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        if name in known:
            raise ValueError(f"there are two steps {name}")
        self.name = name
        known[name] = self

    def of(self, id: str = "") -> "Passage":
        """`with STEP.of(pod):` does the step for that pod or container."""
        return Passage(self.name, id)


class Passage:
    """A step being done: by which name, for whom, since when and how long (ns), and what it failed of."""

    __slots__ = ("began", "failure", "id", "name", "took")

    def __init__(self, name: str, id: str) -> None:
        self.name = name
        self.id = id
        self.began = 0
        self.took = 0
        self.failure = ""

    def __enter__(self) -> None:
        self.began = time.time_ns()
        going.add(self)

    def __exit__(self, kind: object, error: "BaseException | None", trace: object) -> None:
        self.took = time.time_ns() - self.began
        going.discard(self)
        if error is not None:
            self.failure = f"{type(error).__name__}: {error}"
        heard(self)
        if error is None and _FAULTS:
            fault(self.name)


def fault(name: str) -> None:
    """Send the signals that a test has laid down for this step, once."""
    path = f"{_FAULTS}/{name}"
    taken = f"{path}.{os.getpid()}.done"
    try:
        os.rename(path, taken)
    except FileNotFoundError:
        return
    with open(taken, encoding="ascii") as file:
        for line in file.read().splitlines():
            number, pid = line.split()
            os.kill(int(pid) or os.getpid(), signal.Signals(int(number)))


def _nobody(passage: Passage) -> None:
    """Before somebody listens."""


known: dict[str, Step] = {}
going: set[Passage] = set()
heard = _nobody  # set once, by the process's `__main__`
