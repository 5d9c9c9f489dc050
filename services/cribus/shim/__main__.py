"""One pod's shim. shimd's fork server runs `main`; there is nothing to start by hand."""

import contextlib
import fcntl
import os
import signal
from typing import Any

from cribus.bus.slim import Place, Slim
from cribus.errors import FailedPrecondition
from cribus.linux import process
from cribus.shim import verbs
from cribus.shim.door import Door
from cribus.shim.exits import News
from cribus.shim.further import Yard
from cribus.shim.loop import Loop
from cribus.shim.note import note
from cribus.shim.taken import Care
from cribus.steps import Step

SERVICE = "shim"
ORDERED = 10.0  # seconds between two looks whether the pod still is in the roster
ORDER = "shim.json"  # in the pod's run directory: this pod should have a shim (shimd/roster.py)
_CLAIMED = Step("shim.begin.claimed")
_CONTINUED = Step("shim.begin.continued")
_UP = Step("shim.begin.up")


def main(request: dict[str, Any], fds: list[int]) -> int:
    """A shim's whole life. `request`: {"pod", "run", "node", "url", "credentials": path, "ready": index
    of a pipe to which one byte is written when the shim answers on the bus}.

    SIGKILL is as good an end as any: what must not be lost is in the keeper and the run directory.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    pod, run = request["pod"], request["run"]
    process.set_name(f"shim:{pod[:10]}")
    process.set_title(f"shim {run} {pod}")
    with _CLAIMED.of(pod):
        folder = _claimed(f"{run}/pods/{pod}")
    loop = Loop()
    place = Place(url=request["url"], node=request["node"], service=SERVICE, credentials=request["credentials"])
    slim = Slim(loop, place, lambda what: note(what, pod=pod))
    news = News(run, pod, lambda event, done: verbs.tell(slim, event, done))
    yard = Yard(loop, pod, Door(loop, folder, pod), lambda wanted, done: verbs.fork(slim, wanted, done))
    if not _wanted(loop, f"{run}/pods/{pod}"):
        return 0
    with _CONTINUED.of(pod):
        verbs.Shim(slim, Care(loop, run, news), yard).continued()
    _tell_when_up(slim, fds[request["ready"]])
    slim.open()
    loop.run()
    return 0


def _claimed(path: str) -> int:
    """The pod's directory, locked: two shims of one pod would write one log. Raises FailedPrecondition."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FailedPrecondition(f"{path} has a shim already; it must end first") from error
    return folder


def _wanted(loop: Loop, path: str) -> bool:
    """Whether the roster has this pod; when it no longer does, this process ends, sooner or later.

    The socket is there before the roster is read, and shimd strikes the pod off before it looks for
    the socket: whichever comes first, no shim is left that nobody knows. By time, not by inotify,
    whose closing would take 15 ms of every stop.
    """

    def look() -> None:
        _wanted(loop, path)

    if not os.path.exists(f"{path}/{ORDER}"):
        loop.stop()
        return False
    loop.later(ORDERED, look)
    return True


def _tell_when_up(slim: Slim, ready: int) -> None:
    def up() -> None:
        slim.on_up.remove(up)
        _UP.passed()
        with contextlib.suppress(BrokenPipeError):  # shimd was killed meanwhile; the next one will find us
            os.write(ready, b"1")
        os.close(ready)

    slim.on_up.append(up)
