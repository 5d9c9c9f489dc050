"""What the shim supervisor answers."""

from cribus.api.verb import Empty, Message, Verb

SERVICE = "shimd"


class StartShim(Message, frozen=True):
    """Let this pod have a live shim from now on, restarted when it dies. Idempotent."""

    pod: str


class ShimStarted(Message, frozen=True):
    pid: int


class StopShim(Message, frozen=True):
    """The pod goes away: its shim ends and is not restarted. Idempotent."""

    pod: str


class Shims(Message, frozen=True):
    pids: dict[str, int] = {}  # pod → pid of its live shim
    waiting: list[str] = []  # pods whose shims will be started soon, or at once when one of them is asked for


START_SHIM = Verb(SERVICE, "start_shim", StartShim, ShimStarted)
STOP_SHIM = Verb(SERVICE, "stop_shim", StopShim, Empty)
LIST_SHIMS = Verb(SERVICE, "list_shims", Empty, Shims)
