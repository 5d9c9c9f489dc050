"""What a storm will do, from its seed alone: the same seed, the same lives of pods, the same kills and the same
faults of its registry, in the same order. How long anything takes, and which of the storm's pods lives just then, is
not in it.
"""

import random
from collections.abc import Sequence

import msgspec

NAMESPACE = "cribus-chaos"
LABEL = "cribus.chaos"  # of every pod that a storm makes; its value is the seed
EXIT, TERM, KILL, REMOVE = "exit", "term", "kill", "remove"
ENDS = (EXIT, TERM, KILL, REMOVE)
KILLED = 137  # 128 + SIGKILL, as CRI tells it
EXEC, ROTATE, ATTACH = "exec", "rotate", "attach"
SUMS = "/sums"  # where an image that is pulled has the sums of its files
NOT_WHOLE = "the image is not whole"  # what a container says that finds its files changed
MANIFEST, CONFIG = "manifest", "config"  # what a registry is asked for, besides layers by their numbers
RESET, CUT, BUSY, DOWN = "reset", "cut short", "429", "5xx"  # what it does instead of answering
_IMPATIENT = ("RunPodSandbox", "CreateContainer", "StartContainer", "StopContainer", "RemovePodSandbox")

# What may be killed, and how often in a hundred kills. A shim or keeper is always one of the storm's own pods.
WEIGHTS = {
    "shim": 18,
    "keeper": 14,
    "executor": 9,
    "shimd": 9,
    "manager": 10,
    "gateway": 9,
    "images": 6,
    "nats": 9,
    "executor fork server": 5,
    "shimd fork server": 5,
    "images fork server": 3,
    "supervisord": 3,
}
POD_PARTS = ("shim", "keeper")
_GENTLE = ("executor", "shimd", "manager", "gateway", "images", "nats")
_TOGETHER = 0.12  # of the strikes hit two at once
_GENTLY = 0.08  # of those at services alone are SIGTERM: the service is told to end, and is started again
_HUNG = 0.03  # are SIGSTOP to one process: it hangs, must be noticed, and replaced (a keeper: told to go on)
_PULLS = 3  # one life in so many pulls its image
_LARGEST = 2 << 20  # bytes of a layer
_OUTAGE = 0.1  # of the pulls meet a registry that answers nothing but 503 for a while
_LONGEST_PAUSE = 0.4  # seconds between the node's recovery and the next strike


class Deed(msgspec.Struct, frozen=True):
    """Something that is done with a running container; `code` is what a command in it will end with."""

    kind: str
    code: int = 0


class Container(msgspec.Struct, frozen=True):
    """It numbers its lines. After `lines` of them it ends by itself (EXIT), or is ended."""

    end: str
    code: int  # with which it must be seen to have ended
    lines: int
    pace: int  # microseconds between two lines
    tty: bool
    deeds: tuple[Deed, ...]


class Fault(msgspec.Struct, frozen=True):
    """How a registry fails: with a status, or after a share of the answer (0 to 1)."""

    kind: str
    status: int = 0
    after: float = 0.0


class Pull(msgspec.Struct, frozen=True):
    """An image that nobody has yet: the bytes of its layers, and what the first requests for its parts come to."""

    layers: tuple[int, ...]
    faults: dict[str, tuple[Fault, ...]]


class Life(msgspec.Struct, frozen=True):
    """One pod, from nothing to nothing. The client of a call in `hasty` goes away after so many ms, then asks again.
    With `pull` its containers are of an image of its own, which is pulled first."""

    number: int
    containers: tuple[Container, ...]
    hasty: dict[str, int]
    pull: Pull | None = None


class Strike(msgspec.Struct, frozen=True):
    """`victims` get `signal` at the same moment; `which` (0 to 1) chooses among the pods that live then."""

    number: int
    signal: str
    victims: tuple[str, ...]
    which: float
    pause: float  # seconds to wait before it


def life(seed: int, number: int) -> Life:
    """The number-th pod of this seed."""
    draw = random.Random(f"{seed}/life/{number}")
    containers = tuple(_container(draw) for _ in range(1 + (draw.random() < 0.2)))
    hasty = {draw.choice(_IMPATIENT): draw.randint(1, 60)} if draw.random() < 0.25 else {}
    if number % _PULLS != 1:
        return Life(number, containers, hasty)
    if draw.random() < 0.25:
        hasty["PullImage"] = draw.randint(1, 300)
    return Life(number, containers, hasty, _pull(draw))


def _pull(draw: random.Random) -> Pull:
    layers = tuple(draw.randint(1, _LARGEST) for _ in range(draw.randint(1, 3)))
    parts = [MANIFEST, CONFIG, *map(str, range(len(layers)))]
    faults: dict[str, tuple[Fault, ...]] = {}
    for _ in range(draw.randint(1, 4)):  # five times 429, and the node would pass it on
        part = draw.choice(parts)
        faults[part] = (*faults.get(part, ()), _fault(draw))
    if draw.random() < _OUTAGE:  # for longer than the node asks by itself
        faults[draw.choice(parts)] = (Fault(DOWN, 503),) * 6
    return Pull(layers, faults)


def _fault(draw: random.Random) -> Fault:
    kind = draw.choice((RESET, CUT, BUSY, DOWN))
    if kind == BUSY:
        return Fault(kind, 429)
    if kind == DOWN:
        return Fault(kind, draw.choice((500, 502, 503, 504)))
    return Fault(kind, after=draw.random())


def _container(draw: random.Random) -> Container:
    end = draw.choice(ENDS)
    code = draw.randint(0, 120) if end in (EXIT, TERM) else KILLED
    deeds = tuple(_deed(draw) for _ in range(draw.choice((0, 1, 1, 2, 3))))
    return Container(end, code, draw.randint(20, 300), draw.choice((500, 2000, 5000)), draw.random() < 0.1, deeds)


def _deed(draw: random.Random) -> Deed:
    kind = draw.choice((EXEC, EXEC, EXEC, ROTATE, ATTACH))
    return Deed(kind, draw.randint(0, 120) if kind == EXEC else 0)


def strike(seed: int, number: int, kinds: Sequence[str]) -> Strike:
    """The number-th strike of this seed, at these kinds of process."""
    draw = random.Random(f"{seed}/strike/{number}")
    weights = [WEIGHTS[one] for one in kinds]
    victims = draw.choices(kinds, weights)
    if draw.random() < _TOGETHER and len(kinds) > 1:
        victims += draw.choices(kinds, weights)
    # Shim and keeper of one pod in the same instant is more than is promised: docs/decisions/0013-stand-in-keeper.md.
    if set(victims) >= set(POD_PARTS):
        victims = victims[:1]
    pause = draw.uniform(0.0, _LONGEST_PAUSE)
    return Strike(number, _signal(draw, victims), tuple(dict.fromkeys(victims)), draw.random(), pause)


def _signal(draw: random.Random, victims: list[str]) -> str:
    chance = draw.random()
    if chance < _HUNG and len(set(victims)) == 1:
        return "STOP"
    return "TERM" if chance > 1 - _GENTLY and set(victims) <= set(_GENTLE) else "KILL"


def script(container: Container, *, pulled: bool = False) -> str:
    """What its shell runs. It says last how many lines there were; it does so between two lines, not within one.
    In an image that was `pulled` it first looks at every file of it."""
    look = f"sha256sum -c -s {SUMS} || echo {NOT_WHOLE}; " if pulled else ""
    count = f"i=0; while {_goes_on(container)}; do i=$((i+1)); echo line $i; usleep {container.pace}; done"
    if container.end == TERM:
        return f"trap 'told=1' TERM; {look}{count}; echo bye $i; exit {container.code}"
    if container.end == EXIT:
        return f"{look}{count}; echo bye $i; exit {container.code}"
    return f"trap '' TERM; {look}{count}"


def _goes_on(container: Container) -> str:
    if container.end == EXIT:
        return f"[ $i -lt {container.lines} ]"
    return '[ -z "$told" ]' if container.end == TERM else ":"
