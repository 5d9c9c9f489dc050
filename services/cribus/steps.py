"""Steps: what an operation does, piece after piece, each under a name that is written once.

A step's name is `<process>.<operation>.<piece>`. While a step is being done its passage is in
`going`, so that whoever asks what hangs can be told; when it is over, `heard` gets it.

With $CRIBUS_FAULTS, a folder that only tests set, a file there with a step's name is a fault: the
first process that has done the step takes the file away and sends the signals written in it, a line
each, `<signal> <pid>`, pid 0 being the process itself. A fifo instead of a file halts the process until
the test has closed it or has written a line with a dot, so that the test can kill whomever it wants at
that very moment. Where the folder has a folder `passed`, every step that was done leaves a file there. So
a test can kill right after every step that there is, and knows which there are.

This loads next to nothing, because processes forked from small ones use it too.
"""

import _thread
import contextlib
import os
import signal
import time

_FAULTS = os.environ.get("CRIBUS_FAULTS", "")
# By descriptor, because the folder has no path in a container; who closes what it inherited keeps `kept`.
_folder = os.open(_FAULTS, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if _FAULTS else -1
kept = [_folder] if _FAULTS else []


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

    def passed(self) -> None:
        """The step is done: for innermost loops, where a passage would cost too much to be taken down."""
        if _FAULTS:
            fault(self.name)


class Passage:
    """A step being done: by which name, for whom, since when and how long (ns), in which thread of the
    kernel, and what it failed of."""

    __slots__ = ("began", "failure", "id", "name", "thread", "took")

    def __init__(self, name: str, id: str) -> None:
        self.name = name
        self.id = id
        self.began = 0
        self.took = 0
        self.thread = 0
        self.failure = ""

    def __enter__(self) -> None:
        begun()
        self.began = time.time_ns()
        self.thread = _thread.get_native_id()
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
    with contextlib.suppress(FileNotFoundError):
        os.close(os.open(f"passed/{name}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=_folder))
    taken = f"{name}.{os.getpid()}.done"
    try:
        os.rename(name, taken, src_dir_fd=_folder, dst_dir_fd=_folder)
    except FileNotFoundError:
        return
    file = os.open(taken, os.O_RDONLY | os.O_CLOEXEC, dir_fd=_folder)
    text = b""
    while not text.endswith(b".\n") and (part := os.read(file, 4096)):
        text += part
    os.close(file)
    for line in text.removesuffix(b".\n").splitlines():
        number, pid = map(int, line.split())
        os.kill(pid or os.getpid(), signal.Signals(number))
        if not pid and number == signal.SIGKILL:
            os._exit(128 + number)  # the first process of a PID namespace is deaf to itself


def _nobody(passage: Passage) -> None:
    """Before somebody listens."""


def _nothing() -> None:
    """Where nobody needs to know that a step begins."""


known: dict[str, Step] = {}
going: set[Passage] = set()
heard = _nobody  # set once, by the process's `__main__`
begun = _nothing  # so too: called before each step, by whoever does it (pulse.py)
