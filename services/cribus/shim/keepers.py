"""The keeper's protocol from the shim's side (drawn in cribus/keeper.py): fetch descriptors, leave some.

The connection stays open, because its end is the news that the keeper has gone.
"""

import contextlib
import os
import select
import socket
from collections.abc import Iterable

from cribus.errors import Aborted, FailedPrecondition
from cribus.keeper import introduce
from cribus.linux import fds as descriptors
from cribus.shim import memo
from cribus.shim.memo import Memo
from cribus.shim.note import note

SOCKET = "keeper.sock"
PREFIX = "session."
_PATIENCE = 5.0  # seconds; a keeper answers in microseconds or not at all
_PAGE = 200  # descriptors in one answer


class Keeper:
    """A container's keeper. Its descriptors outlive us; what `get` returned is ours to close."""

    def __init__(self, sock: socket.socket) -> None:
        self.lockers: set[Locker] = set()
        self._sock: socket.socket | None = None
        self.sock = sock

    @property
    def sock(self) -> socket.socket | None:
        return self._sock

    @sock.setter
    def sock(self, sock: socket.socket | None) -> None:
        """Another one, that stands in for the first; None while there is none."""
        self._sock = sock
        if sock is not None:
            sock.setblocking(False)
            with contextlib.suppress(OSError):  # it has gone again, which its socket will tell
                introduce(sock)

    def of_sessions(self) -> dict[str, int]:
        """What the sessions that are open now have left here, by its name; the descriptors stay theirs."""
        return {locker.name(part): fd for locker in self.lockers for part, fd in locker.fds.items()}

    def get(self) -> dict[str, int]:
        """Copies of everything it holds, by name. Raises OSError."""
        found: dict[str, int] = {}
        while True:
            names, fds = self._ask(b"get %d" % len(found))
            found.update(zip(names.decode().split(), fds, strict=True))
            if len(fds) < _PAGE:
                return found

    def put(self, name: str, fd: int) -> None:
        """Let it hold a copy of `fd`. When it has gone nothing is held: what we have still works.

        Raises OSError.
        """
        if self.sock is None:
            return
        answer, _ = self._ask(b"put " + name.encode(), [fd])
        if answer != b"ok":
            raise OSError(5, f"the keeper does not take {name}: {answer.decode(errors='replace')}")

    def keep(self, fds: dict[str, int]) -> None:
        """As `put`, of several, without waiting: a keeper reads what was sent to it also after our death."""
        self._say(b"keep " + "\n".join(fds).encode(), fds.values())

    def drop(self, *names: str) -> None:
        """Let it close these; with a name that ends in "." all that begin so."""
        self._say(b"drop " + "\n".join(names).encode(), ())

    def _say(self, request: bytes, fds: Iterable[int]) -> None:
        if self.sock is None:
            return
        try:
            descriptors.send(self.sock, request, list(fds))
        except OSError as error:  # it has gone, which its socket will tell; or it hangs
            note("the keeper takes nothing", cause=str(error))

    def _ask(self, request: bytes, fds: Iterable[int] = ()) -> tuple[bytes, list[int]]:
        assert self.sock is not None
        descriptors.send(self.sock, request, list(fds))
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        if not poll.poll(_PATIENCE * 1000):
            raise TimeoutError(110, "the keeper does not answer")
        data, passed = descriptors.recv(self.sock)
        if not data:
            raise OSError(104, "the keeper went away")
        return data, passed

    def close(self) -> None:
        """Idempotent."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None


class Locker:
    """One session's descriptors, ours and the keeper's copies of them, by their part in it."""

    def __init__(self, keeper: Keeper, id: str, fds: dict[str, int]) -> None:
        """`fds` are ours, and the keeper's already. Among them must be the memo. Raises KeyError, OSError."""
        self.fds = fds
        self.notes = Memo(fds["memo"])
        self._keeper = keeper
        self._id = id
        self._fresh: dict[str, int] = {}
        self._stale: set[str] = set()
        keeper.lockers.add(self)

    def name(self, part: str) -> str:
        return f"{PREFIX}{self._id}.{part}"

    def add(self, fds: dict[str, int]) -> None:
        """Ours from now on; the keeper's too after `send`."""
        self.fds.update(fds)
        self._fresh.update({self.name(part): fd for part, fd in fds.items()})

    def send(self) -> None:
        """All that is new, in one packet: the next shim finds all of it or nothing."""
        fresh, self._fresh = self._fresh, {}
        self._keeper.keep(fresh)

    def keep(self, fds: dict[str, int]) -> None:
        self.add(fds)
        self.send()

    def put_down(self, part: str) -> None:
        """Close ours, and let the keeper have its copy until we tell it of something else. Idempotent."""
        if part in self.fds:
            os.close(self.fds.pop(part))
            self._stale.add(part)

    def close(self, *parts: str) -> None:
        """Close these for good. Idempotent."""
        for part in parts:
            self.put_down(part)
        if self._stale:
            self._keeper.drop(*(self.name(part) for part in self._stale))
            self._stale.clear()

    def close_all(self) -> None:
        """The session is over. Idempotent."""
        if self.fds:
            self._keeper.drop(self.name(""))
            self._keeper.lockers.discard(self)
            self.notes.close()
        for fd in self.fds.values():
            os.close(fd)
        self.fds.clear()


def locker(keeper: Keeper, text: bytes) -> Locker:
    """For a new session, of which this was asked. The keeper has none of it before `send`."""
    one = Locker(keeper, os.urandom(8).hex(), {"memo": memo.new(text)})
    one.add(dict(one.fds))
    return one


def sessions(held: dict[str, int]) -> dict[str, dict[str, int]]:
    """Take what belongs to sessions out of what a keeper holds: by session, by part."""
    found: dict[str, dict[str, int]] = {}
    for name in [name for name in held if name.startswith(PREFIX)]:
        _, id, part = name.split(".", 2)
        found.setdefault(id, {})[part] = held.pop(name)
    return found


def connect(folder: str) -> Keeper:
    """The keeper of the container whose run directory is `folder`.

    Raises FailedPrecondition when there is no container, Aborted when it has no keeper, OSError when that
    does not answer.
    """
    try:
        dirfd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise FailedPrecondition(f"{folder} is not there: create the container first") from error
    try:
        return Keeper(descriptors.connect_at(dirfd, SOCKET, _PATIENCE))
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise Aborted(
            f"no keeper serves {folder}/{SOCKET}: it was killed, or there never was one; start again"
        ) from error
    finally:
        os.close(dirfd)
