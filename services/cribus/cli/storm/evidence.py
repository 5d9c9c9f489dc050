"""What a storm has seen, for the proof: data only."""

from typing import Any

import msgspec

from cribus.cli.storm.plan import Container, Life, Strike


class Command(msgspec.Struct):
    """An ExecSync that was answered."""

    wanted: tuple[str, int]  # output and exit code
    found: tuple[str, int]


class Ran(msgspec.Struct):
    """One container of a life. `text` is its log, all files of it in order, as CRI has it."""

    plan: Container
    id: str = ""
    started: bool = False
    code: int | None = None  # that ContainerStatus told; None where nobody could ask any more
    text: str = ""
    commands: list[Command] = []


class Pulled(msgspec.Struct):
    """An image that a life has pulled: its true id, and the one that was answered; at the end, whether it was still
    there after it was removed. `own` are digests of what no other image has."""

    reference: str
    id: str
    own: set[str] = set()
    answered: str = ""
    left: bool = False


class Lived(msgspec.Struct):
    """A life so far. `trouble` is the error that ended it before its time: what was asked was not done."""

    plan: Life
    name: str
    pod: str = ""
    ran: list[Ran] = []
    pulled: Pulled | None = None
    over: bool = False
    trouble: str = ""


class Told(msgspec.Struct, frozen=True):
    """An event, as far as the proof needs it."""

    kind: str
    id: str
    pod: str = ""
    code: int = 0
    known: bool = True


class Hit(msgspec.Struct):
    """A strike that was made. Seconds from it until …"""

    plan: Strike
    at: float  # of the storm's own time
    pids: dict[str, int]  # victim → pid
    recovered: dict[str, float] = {}  # … the calls that need this victim worked again
    whole: float = 0.0  # … every kind of call worked again
    trouble: str = ""


class Finding(msgspec.Struct, frozen=True):
    """Something that should not be. `check` names the promise that it breaks."""

    check: str
    text: str


class Result(msgspec.Struct):
    """Everything at the end."""

    seed: int
    seconds: float
    hits: list[Hit]
    lives: int
    counts: dict[str, int]  # of what was proven: lines, exit codes, …
    again: dict[str, int]  # calls that were asked again, by call and code
    faults: dict[str, int]  # of the storm's registry that pulls met, by kind
    findings: list[Finding]
    interrupted: bool = False
    notes: list[str] = []

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found
