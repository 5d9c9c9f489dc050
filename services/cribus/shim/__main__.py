"""One pod's shim. shimd's fork server runs `main`; there is nothing to start by hand."""

import contextlib
import fcntl
import functools
import os
import resource
import signal
import socket
from typing import Any

from cribus import pulse, steps
from cribus.bus.slim import Place, Slim
from cribus.bus.slim_trace import Trace
from cribus.errors import FailedPrecondition
from cribus.linux import fds as descriptors
from cribus.linux import process
from cribus.shim import fence, verbs
from cribus.shim.door import Door
from cribus.shim.exits import News
from cribus.shim.further import Yard
from cribus.shim.loop import READ, Loop
from cribus.shim.note import note
from cribus.shim.taken import Care
from cribus.steps import Step

SERVICE = "shim"
ORDERED = 10.0  # seconds between two looks whether the pod still is in the roster
_CLAIMED = Step("shim.begin.claimed")
_CONTINUED = Step("shim.begin.continued")
_UP = Step("shim.begin.up")


def main(request: dict[str, Any], fds: list[int]) -> int:
    """A shim's whole life. `request`: {"run", "node", "url", "credentials": path, "orders": index of a
    SEQPACKET socket}.

    On that socket comes one packet, a pod's id and the shim's generation, with the write end of a pipe, to which
    one byte is written when the pod's shim answers on the bus. If who orders knows them, the ids of the containers
    that earlier shims of the pod may have had follow, one a line. It may come at once, or long after this process
    has connected to the bus; without one, when the other end closes, the process ends.

    SIGKILL is as good an end as any: what must not be lost is in the keeper and the run directory.
    SIGTERM is more polite to those who wait for an answer (retire.py).
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    # Its own, not what was left to the process that forked it: that may just have been out of descriptors.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    process.set_name("shim")
    process.set_title(f"shim {request['run']} no pod yet")
    _Life(request, socket.socket(fileno=fds[request["orders"]])).run()
    return 0


class _Life:
    """First a connection to the bus, then, when the order comes, the shim of a pod."""

    def __init__(self, request: dict[str, Any], orders: socket.socket) -> None:
        self._run = request["run"]
        self._pod = ""
        self._shim: verbs.Shim | None = None
        self._loop = Loop()
        self._orders = orders
        place = Place(url=request["url"], node=request["node"], service=SERVICE, credentials=request["credentials"])
        self._slim = Slim(self._loop, place, lambda what: note(what, pod=self._pod))

    def run(self) -> None:
        self._loop.watch(self._orders.fileno(), READ, self._ordered)
        self._woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: None)
        self._loop.watch(self._woken, READ, self._told_to_go)
        self._slim.open()
        self._loop.run()

    def _told_to_go(self, _: int) -> None:
        os.read(self._woken, 4096)
        if self._shim is None:
            self._loop.stop()
        else:
            self._shim.retire()

    def _ordered(self, _: int) -> None:
        self._loop.forget(self._orders.fileno())
        said, passed = descriptors.recv(self._orders, 1)
        self._orders.close()
        if said:
            order, *containers = said.decode().split("\n")
            pod, generation = order.split()
            self._pod = pod
            pulse.own = fence.Own(pulse.Page(self._run), f"{self._run}/pods/{pod}", int(generation))
            signal.signal(signal.SIGCONT, lambda *_: pulse.checked())  # it was stopped, perhaps too long
            self._begin(pod, passed[0], [id for id in containers if id] if containers else None)
        else:
            self._loop.stop()

    def _begin(self, pod: str, ready: int, among: list[str] | None) -> None:
        """Be the shim of this pod. Raises FailedPrecondition when it has one."""
        loop, slim, folder = self._loop, self._slim, f"{self._run}/pods/{pod}"
        steps.heard = Trace(slim).heard
        process.set_name(f"shim:{pod[:10]}")
        process.set_title(f"shim {self._run} {pod}")
        with _CLAIMED.of(pod):
            claimed = _claimed(folder)
        os.fchdir(claimed)  # tells whose shim this is, also when the directory was deleted (shimd/adopt.py)
        news = News(self._run, pod, lambda event, done: verbs.tell(slim, event, done))
        care = Care(loop, self._run, news)
        yard = Yard(loop, Door(loop, claimed, pod), care.tools, functools.partial(verbs.fork, slim))
        if _wanted(loop, folder):
            with _CONTINUED.of(pod):
                self._shim = verbs.Shim(slim, care, yard)
                self._shim.continued(among)
            _tell_when_up(slim, ready)


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

    pulse.checked()
    if fence.ordered(path) is None:
        loop.stop()
        return False
    loop.later(ORDERED, look)
    return True


def _tell_when_up(slim: Slim, ready: int) -> None:
    """Once the bus knows what this process answers to."""

    def up() -> None:
        _UP.passed()
        with contextlib.suppress(BrokenPipeError):  # shimd was killed meanwhile; the next one will find us
            os.write(ready, b"1")
        os.close(ready)

    slim.when_taken(up)
