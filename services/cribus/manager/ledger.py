"""Where records are written: a file each in the run directory, by rename, and soon after in the node's KV.

A change is made when its file is there, which takes a tenth of the time of a revision in KV and works
while the bus is away. The KV follows within `LAG`, one revision for all changes of that time: it is
what is left of the records after the host went down, and what other nodes can see.

Belongs here: nothing that knows what a record says.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Protocol

from cribus.errors import ResourceExhausted, Unavailable
from cribus.kept import whole
from cribus.staging import Staging
from cribus.steps import Step

LAG = 0.05  # seconds from a change until the KV is told
_TOGETHER = 16  # revisions on their way at a time
_WHOLE = "whole"  # a file that says: every record there is has its file here
_WRITTEN = Step("manager.record.written")
_FORGOTTEN = Step("manager.record.forgotten")
_MIRRORED = Step("manager.record.mirrored")
_logger = logging.getLogger(__name__)


class KV(Protocol):
    """The store behind: bus/kv.py, or a dictionary in tests."""

    async def put(self, key: str, value: bytes) -> int: ...
    async def delete(self, key: str) -> None: ...
    async def load_all(self) -> dict[str, bytes]: ...


class Ledger:
    """Records by key, as bytes. `mirror` runs as a task. `stands` tells of a key without a file whether it was
    lost: what was removed is gone from everywhere."""

    def __init__(self, folder: str, kv: KV, stands: Callable[[str], bool] = lambda key: False) -> None:
        self._folder = folder
        self._files = Staging(folder)
        self._kv = kv
        self._stands = stands
        self._changed: dict[str, bytes | None] = {}  # what the KV does not have yet; None: removed
        self._there: set[str] = set()  # keys that the KV may have
        self._doubted = False
        self._some = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()

    async def load_all(self) -> dict[str, bytes]:
        """Every record. The files win; after the host was down there are none, and the KV is the truth.

        Raises Unavailable while the bus is away.
        """
        behind = await self._kv.load_all()
        self._files.claim()
        self._begin(behind)
        return self._compared(behind)

    def _compared(self, behind: dict[str, bytes]) -> dict[str, bytes]:
        """What the files say; where the KV says something else it will follow. A file that was lost or spoilt
        is made again of what the KV has."""
        self._there |= behind.keys()
        found = self._read()
        for key in [key for key in behind if key not in found and (self._spoilt(key) or self._stands(key))]:
            _logger.warning("a record's file was lost; the KV has it", extra={"key": key})
            self._files.write(self._path(key), behind[key])
            found[key] = behind[key]
        for key in behind.keys() | found.keys():
            if behind.get(key) != found.get(key):
                self._follow(key, found.get(key))
        return found

    def _begin(self, behind: dict[str, bytes]) -> None:
        """A file for each record of the KV, unless the files say that there is one for every record."""
        if os.path.exists(f"{self._folder}/{_WHOLE}"):
            return
        for key, value in behind.items():
            if not os.path.exists(self._path(key)):  # else it is of an attempt to do this, or newer
                self._files.write(self._path(key), value)
        self._files.write(f"{self._folder}/{_WHOLE}", b"")

    def _read(self) -> dict[str, bytes]:
        found = {}
        for name in os.listdir(self._folder):
            if name.endswith(".json"):
                with open(f"{self._folder}/{name}", "rb") as file:
                    data = whole(file.read())
                if data:
                    found[name.removesuffix(".json")] = data
            elif name.endswith(".new"):  # of an earlier version that was killed while it wrote
                os.unlink(f"{self._folder}/{name}")
        return found

    def _spoilt(self, key: str) -> bool:
        """For one that `_read` did not find: whether it has a file all the same."""
        return os.path.exists(self._path(key))

    def _path(self, key: str) -> str:
        return f"{self._folder}/{key}.json"

    async def put(self, key: str, value: bytes) -> None:
        """Write one record. Raises ResourceExhausted when the run directory has no room for it."""
        try:
            self._files.write(self._path(key), value)
        except OSError as error:
            raise ResourceExhausted(f"{self._folder} takes no record: {error.strerror}; make room there") from error
        _WRITTEN.passed()
        self._follow(key, value)

    async def delete(self, key: str) -> None:
        """Remove a record. Idempotent."""
        self._files.remove(self._path(key))
        _FORGOTTEN.passed()
        self._follow(key, None)

    def _follow(self, key: str, value: bytes | None) -> None:
        if value is None and key not in self._there:
            self._changed.pop(key, None)
            return
        self._changed[key] = value
        if value is not None:
            self._there.add(key)
        self._settled.clear()
        self._some.set()

    def doubt(self) -> None:
        """The bus was away: what its server had acknowledged may be undone. One that is killed right after
        it removed a record has it again."""
        self._doubted = True
        self._settled.clear()
        self._some.set()

    async def mirror(self) -> None:
        """Let the KV follow, for ever; while the bus is away the changes wait."""
        while True:
            await self._some.wait()
            if self._doubted:
                await self._look_again()
            elif not self._changed:
                self._some.clear()
                self._settled.set()
                continue
            await asyncio.sleep(LAG)
            changed, self._changed = self._changed, {}
            room = asyncio.Semaphore(_TOGETHER)
            await asyncio.gather(*(self._tell(room, key, value) for key, value in changed.items()))
            _MIRRORED.passed()

    async def _look_again(self) -> None:
        self._doubted = False
        try:
            self._compared(await self._kv.load_all())
        except Unavailable as error:
            _logger.warning("the records wait for the bus", extra={"cause": error.message})
            self._doubted = True

    async def _tell(self, room: asyncio.Semaphore, key: str, value: bytes | None) -> None:
        async with room:
            try:
                if value is not None:
                    await self._kv.put(key, value)
                else:
                    await self._kv.delete(key)
                    self._gone(key)
            except Unavailable as error:
                _logger.warning("a record waits for the bus", extra={"key": key, "cause": error.message})
                self._changed.setdefault(key, value)

    def _gone(self, key: str) -> None:
        if self._changed.get(key) is None:
            self._there.discard(key)

    async def flushed(self, seconds: float) -> None:
        """Wait until the KV has everything, at most so long; what it has not it gets after the next start."""
        try:
            async with asyncio.timeout(seconds):
                await self._settled.wait()
        except TimeoutError:
            _logger.warning("records not in the KV yet", extra={"count": len(self._changed)})
