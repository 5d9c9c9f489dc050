"""Looking at paths that a client named, with a deadline. The looks are made by another process (looks.py): a
thread of ours that hangs in the kernel would keep this process from ending, and so its successor from starting."""

import asyncio
import json
import logging
import sys
import time
from typing import Any

from cribus.errors import DeadlineExceeded, Unavailable
from cribus.hung import Overseen

PATIENCE = 10.0  # seconds
_LONGEST = 8 << 20  # bytes of one answer
_TRIES = 3
_logger = logging.getLogger(__name__)


class Looker:
    """One process at a time; one in which a look hangs is given up, and another takes its place."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._worker: _Worker | None = None
        self._starting = asyncio.Lock()
        self._hung: dict[str, _Hung] = {}
        self._burying: set[asyncio.Task[None]] = set()

    async def ask(self, look: str, path: str) -> Any:
        """What a look (looks.LOOKS) finds. Raises OSError as the kernel says it, DeadlineExceeded when it does
        not answer, at once while an earlier look at this path still hangs."""
        hung = self._hung.get(path)
        if hung is not None:
            raise DeadlineExceeded(f"{path} gives no answer, since {time.monotonic() - hung.since:.0f} s; {_DEAD}")
        for _ in range(_TRIES):
            worker = await self._ready()
            try:
                async with asyncio.timeout(self._patience):
                    with Overseen(worker.pid, worker.end):
                        return await worker.ask(look, path)
            except TimeoutError as error:
                self._give_up(worker, path)
                raise DeadlineExceeded(f"{path} gives no answer within {self._patience:g} s; {_DEAD}") from error
            except ConnectionError:
                self._worker = None if self._worker is worker else self._worker  # given up for another's path
        raise Unavailable("the process that looks at paths does not stay alive; see the manager's log")

    async def _ready(self) -> "_Worker":
        async with self._starting:
            if self._worker is None or self._worker.ended:
                self._worker = await _Worker.start()
            return self._worker

    async def close(self) -> None:
        """End the process; one that hangs is left to the kernel."""
        for task in self._burying:
            task.cancel()
        await asyncio.gather(*self._burying, return_exceptions=True)
        if self._worker is not None:
            await self._worker.kill()

    def _give_up(self, worker: "_Worker", path: str) -> None:
        """Its other looks are made again by the next one."""
        if self._worker is worker:
            self._worker = None
        self._hung[path] = _Hung(worker)
        task = asyncio.create_task(self._bury(worker, path))
        self._burying.add(task)
        task.add_done_callback(self._burying.discard)

    async def _bury(self, worker: "_Worker", path: str) -> None:
        """SIGKILL ends it as soon as the file system answers, or is given up by the kernel."""
        _logger.warning("a path gives no answer", extra={"path": path, "pid": worker.pid})
        await worker.kill()
        if self._hung.get(path, _Hung(worker)).worker is worker:
            self._hung.pop(path, None)
        _logger.info("a look that hung has ended", extra={"path": path, "pid": worker.pid})


_DEAD = "is a network volume dead?"


class _Worker:
    """The process, and who waits for which answer."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin
        assert process.stdout
        self._process = process
        self._stdin, self._stdout = process.stdin, process.stdout
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls) -> "_Worker":
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "cribus.manager.looks",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LONGEST,
            )
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._reading.done()

    async def ask(self, look: str, path: str) -> Any:
        """Raises OSError for what the look says, ConnectionError when the process has gone."""
        if self.ended:
            raise ConnectionError("the process that looks has gone")
        self._last += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[id := self._last] = answer
        try:
            self._stdin.write(json.dumps({"id": id, "look": look, "path": path}).encode() + b"\n")
            found = await answer
        finally:
            self._waiting.pop(id, None)
        if "found" in found:
            return found["found"]
        raise OSError(found["errno"], found["text"])

    async def _read(self) -> None:
        while line := await self._stdout.readline():
            found = json.loads(line)
            waiting = self._waiting.get(found["id"])
            if waiting is not None and not waiting.done():
                waiting.set_result(found)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionError("the process that looks has gone"))

    def end(self) -> None:
        """SIGKILL, without waiting for it."""
        if self._process.returncode is None:
            self._process.kill()

    async def kill(self) -> None:
        """Until it is gone, however long that takes."""
        self.end()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionError("the process that looks was given up"))
        await self._process.wait()


class _Hung:
    """A path that gave no answer, by which process, since when (monotonic seconds)."""

    __slots__ = ("since", "worker")

    def __init__(self, worker: _Worker) -> None:
        self.worker = worker
        self.since = time.monotonic()
