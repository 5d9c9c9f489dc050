"""The page that all processes of a node share: the generation of each program, and its signs of life.

A generation is a number that grows with each start of a program: who starts it writes it here first and hands
it over in $CRIBUS_GENERATION. The first is the time since the boot, so that none comes twice where somebody
deleted the page. A process whose number is not the one on the page has a successor, and may do
nothing any more: it ends itself (`checked`), and whoever serves refuses it (`stale`).

A sign of life is the moment of the last one, written about once a second by the program's own loop:
whoever watches it (hung.py) asks nobody, and needs no bus.

The page is a file in the run directory, mapped by everybody. A slot of 256 bytes a program:

    name 32 | generation u64 | beat u64, CLOCK_MONOTONIC ns | hangs u64 | at u64, ns since the epoch |
    pid u64 of whoever gave the last beat | told u64, of the hangs | why

The guard and supervisord alone write generations, each of what it starts; a store of eight aligned bytes
is seen whole or not at all. Nothing of it outlives a boot: neither does any process whose number it is.

Loads next to nothing: fork servers and what they fork use it too.
"""

import contextlib
import mmap
import os
import signal
import struct
import sys
import time

from cribus import steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

FILE = "supervisor/pulse"  # below the run directory
GENERATION = "CRIBUS_GENERATION"
EVERY = 1.0  # seconds from one sign of life to the next
FENCED = 75  # exit code of a process that finds that it has a successor
_SIZE = 4096
_SLOT = 256
_NAME = struct.Struct("<32s")
_NUMBER = struct.Struct("<Q")
_GENERATION, _BEAT, _HANGS, _AT, _PID, _TOLD, _WHY = 32, 40, 48, 56, 64, 72, 80
_FRESH = 10.0  # seconds for which a sign of life says that somebody lives


class Page:
    """The page of the node with this run directory. Without one every number is 0."""

    def __init__(self, run: str) -> None:
        self.path = f"{run}/{FILE}"
        self._map: mmap.mmap | None = None
        self._inode = 0
        self._slots: dict[str, int] = {}
        self.refresh()

    def refresh(self) -> None:
        """Map the file that is there now: the run directory may have been emptied, and filled again."""
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            found = os.fstat(fd)
            if found.st_ino != self._inode and found.st_size == _SIZE:
                self._map = mmap.mmap(fd, _SIZE)
                self._inode = found.st_ino
                self._slots = {}
        finally:
            os.close(fd)

    def ensure(self) -> None:
        """Make the file where there is none, with what we know. Raises OSError."""
        if self._map is not None and os.path.exists(self.path):
            return
        os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)  # the run directory may have been emptied
        temporary = f"{self.path}.{os.getpid()}.new"
        with open(temporary, "wb") as file:
            file.write(self._map[:] if self._map is not None else bytes(_SIZE))
        try:
            os.link(temporary, self.path)
        except FileExistsError:
            pass
        finally:
            os.unlink(temporary)
        self.refresh()

    def _slot(self, name: str, *, add: bool = False) -> int:
        """Where a program's slot begins; -1 when it has none."""
        if name in self._slots or self._map is None:
            return self._slots.get(name, -1)
        key = name.encode()
        for at in range(0, _SIZE, _SLOT):
            found = _NAME.unpack_from(self._map, at)[0].rstrip(b"\0")
            if not found and add:
                _NAME.pack_into(self._map, at, key)
                found = key
            if found == key:
                self._slots[name] = at
                return at
        return -1

    def _get(self, name: str, field: int) -> int:
        at = self._slot(name)
        if at < 0 or self._map is None:
            return 0
        found: int = _NUMBER.unpack_from(self._map, at + field)[0]
        return found

    def _set(self, name: str, field: int, value: int) -> None:
        at = self._slot(name)
        if at >= 0 and self._map is not None:
            _NUMBER.pack_into(self._map, at + field, value)

    def names(self) -> list[str]:
        """The programs that have a slot."""
        if self._map is None:
            return []
        found = [_NAME.unpack_from(self._map, at)[0].rstrip(b"\0") for at in range(0, _SIZE, _SLOT)]
        return [name.decode() for name in found if name]

    def generation(self, name: str) -> int:
        """That of its last start; 0 when nobody counts."""
        return self._get(name, _GENERATION)

    def begin(self, name: str) -> int:
        """It is about to be started: its new generation. From here on the process before it is fenced."""
        self._slot(name, add=True)
        self._set(name, _BEAT, 0)
        self._set(name, _GENERATION, max(self.generation(name) + 1, _first()))
        return self.generation(name)

    def beat(self, name: str) -> int:
        """When it gave its last sign of life, monotonic ns; 0 before the first."""
        return self._get(name, _BEAT)

    def strike(self, name: str) -> None:
        """It lives."""
        self._set(name, _PID, os.getpid())
        self._set(name, _BEAT, time.monotonic_ns())

    def pid(self, name: str) -> int:
        """Of the process that gave the last sign of life; 0 before the first."""
        return self._get(name, _PID)

    def alive(self, name: str) -> bool:
        """Whether it gave a sign of life in the last seconds."""
        return time.monotonic_ns() - self.beat(name) < _FRESH * 1e9

    def hangs(self, name: str) -> tuple[int, int, str]:
        """How often it, or what it watches, hung; when for the last time (ns since the epoch), and how."""
        at = self._slot(name)
        if at < 0 or self._map is None:
            return 0, 0, ""
        why = self._map[at + _WHY : at + _SLOT].rstrip(b"\0").decode(errors="replace")
        return self._get(name, _HANGS), self._get(name, _AT), why

    def hung(self, name: str, why: str) -> None:
        """It, or what it watches, hangs and is about to be replaced."""
        at = self._slot(name, add=True)
        if at < 0 or self._map is None:
            return
        room = _SLOT - _WHY
        self._map[at + _WHY : at + _SLOT] = why.encode()[: room - 1].ljust(room, b"\0")
        self._set(name, _AT, time.time_ns())
        self._set(name, _HANGS, self._get(name, _HANGS) + 1)

    def told(self, name: str) -> int:
        """How many of its hangs are in the node's events."""
        return self._get(name, _TOLD)

    def tell(self, name: str, count: int) -> None:
        self._set(name, _TOLD, count)


def _first() -> int:
    """More than any generation that was before: nobody is started a thousand times a second."""
    return int(time.monotonic() * 1000)


class Own:
    """This process, as one generation of a program; 0: of none, which nobody replaces."""

    def __init__(self, page: Page, name: str, generation: int) -> None:
        self.page = page
        self.name = name
        self.generation = generation
        self.looks: list[Callable[[], None]] = []  # called with every sign of life

    def current(self) -> bool:
        """Whether it has no successor."""
        return not self.generation or self.page.generation(self.name) in (0, self.generation)

    def check(self) -> None:
        """End this process at once when it has a successor."""
        if not self.current():
            text = f"{self.name}: generation {self.generation} has a successor; ending\n"
            with contextlib.suppress(OSError):  # nobody may read any more what it says
                os.write(2, text.encode())
            os._exit(FENCED)

    def beat(self) -> None:
        self.page.refresh()
        self.check()
        if self.generation:
            self.page.strike(self.name)


own: Own | None = None


def checked() -> None:
    """End this process at once when it has a successor: to be called before whatever others would see."""
    if own is not None:
        own.check()


def mark() -> tuple[str, int]:
    """As which generation of which program this process speaks; ("", 0): as none, which nobody replaces."""
    return (own.name, own.generation) if own is not None and own.generation else ("", 0)


def stale(name: str, generation: int) -> bool:
    """Whether a message of this generation of a program is of a process that has a successor."""
    if not generation or own is None or own.page.generation(name) in (0, generation):
        return False
    own.page.refresh()  # nobody is refused because of a page that is no longer the node's
    return own.page.generation(name) not in (0, generation)


def taken() -> int:
    """The generation that was handed to this process; what it starts does not get it."""
    return int(os.environ.pop(GENERATION, "0"))


def begin(run: str, name: str) -> Own:
    """Be this generation of a program from now on, in the main thread. A process that was stopped looks first,
    when it goes on, whether it has a successor."""
    global own
    own = Own(Page(run), name, taken())
    own.check()
    signal.signal(signal.SIGCONT, lambda *_: checked())
    steps.begun = checked
    return own


def keep(run: str, name: str, later: "Callable[[float, Callable[[], None]], object]") -> Own:
    """`begin`, and give signs of life as long as the loop turns whose call_later this is."""
    one = begin(run, name)

    def beat() -> None:
        one.beat()
        for look in one.looks:
            look()
        later(EVERY, beat)

    beat()
    return one


def alone(run: str, name: str) -> None:
    """End this process when it was started by hand where supervisord runs one of this name already."""
    page = Page(run)
    if GENERATION not in os.environ and page.generation(name) and page.alive("supervisord"):
        sys.exit(f"{name} is run by the node's supervisord, and there must not be two; `cribus status` shows it")
