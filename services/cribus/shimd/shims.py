"""The pods' shims: started, found again, watched, and started again at once when they die."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import NamedTuple

import msgspec

from cribus import hung
from cribus.api.events import SHIM_REPLACED, Event
from cribus.errors import Unavailable
from cribus.linux import process
from cribus.shimd import adopt
from cribus.shimd.adopt import Shim
from cribus.shimd.roster import Roster
from cribus.steps import Step

READY = 20.0  # seconds within which a shim must answer on the bus
_CHECK = 10.0  # seconds between looks whether a live shim still answers
_STOPPED = 3  # looks in a row that find a shim stopped: then it hangs
_REAPED = 0.2  # seconds in which a dead shim is reaped, so that the kernel tells how it ended
_FEW = 16  # shims that are started at once, whoever else comes up
_AT_ONCE = 32  # that are started together, of more
_ALONE = 2.0  # seconds for the manager to ask for the first
_YOUNG = 1.0  # seconds: one that dies younger than this may die again
_FREE = 2  # deaths in a row that are followed by a start at once
_FIRST_PAUSE, _LAST_PAUSE = 0.1, 5.0  # seconds, doubled from death to death
_logger = logging.getLogger(__name__)

Spawn = Callable[[str, int], Awaitable[Shim]]  # (order, descriptor to which the shim says that it is ready)
_WANTED = Step("shimd.start.wanted")
_FORKED = Step("shimd.start.forked")
_UP = Step("shimd.start.up")
_STRUCK = Step("shimd.stop.struck-off")
_ENDED = Step("shimd.stop.ended")


class _Post:
    """One pod's place for a shim."""

    def __init__(self, pod: str) -> None:
        self.pod = pod
        self.shim: Shim | None = None
        self.ready = asyncio.Event()
        self.ending = asyncio.Event()
        self.generation = 0  # of the next shim, if that is written down already
        self.stopped = 0  # so many looks in a row
        self.how = ""  # why it was killed, if it was
        self.task: asyncio.Task[None] | None = None
        self.lost: _Lost | None = None  # the shim before, until its successor is ready
        self.may = asyncio.Event()  # begin; until then shims of others go first
        self.taken: Sequence[str] = ()  # what the next shim is told beyond (shim/__main__.py)
        self.refusals = 0  # how often none could be started, and why not the last time
        self.refused = OSError()

    def lose(self, lost: "_Lost | None") -> None:
        """Remember the shim that is no more, or forget it."""
        if self.lost is not None and self.lost.pidfd >= 0:
            os.close(self.lost.pidfd)
        self.lost = lost


class _Lost(NamedTuple):
    """A shim that is no more; `pidfd` is ours to close, or -1."""

    pid: int
    pidfd: int
    how: str

    def end(self) -> str:
        """How it ended, where somebody knows: the kernel tells once it was reaped (Linux 6.15)."""
        if self.how:
            return self.how
        status = process.pidfd_exit(self.pidfd)
        if status is None:
            return "it died"
        if os.WIFSIGNALED(status):
            return f"{signal.Signals(os.WTERMSIG(status)).name} from outside"
        code = os.WEXITSTATUS(status)
        return f"it ended with status {code}" if code else "it was told to go"


class Shims:
    """`tell` gets the news of shims that were replaced."""

    def __init__(self, roster: Roster, spawn: Spawn, tell: Callable[[Event], None]) -> None:
        self._roster = roster
        self._spawn = spawn
        self._tell = tell
        self._posts: dict[str, _Post] = {}
        self._go = asyncio.Event()
        self._many: asyncio.Task[None] | None = None

    async def adopt(self) -> None:
        """Find the shims that live, start those that should. Returns when all of the former are found, and
        those that nobody can find any more have ended.

        Many that start would keep everybody else from the processors just when the node comes up. They wait
        until the first is asked for: then the manager answers. Nothing is lost meanwhile.
        """
        wanted = self._roster.wanted()
        found = await asyncio.gather(*(adopt.find(self._roster.folder(pod)) for pod in wanted))
        known = {shim.pid for shim in found if shim is not None}
        await asyncio.gather(*(_ended(shim) for shim in adopt.lost(self._roster.run, known)))
        taken = self._roster.taken() if len(known) < len(wanted) else {}
        for pod, shim in zip(wanted, found, strict=True):
            post = self._open(pod, shim, now=shim is not None)
            if shim is None:
                post.lose(_Lost(0, -1, "it was gone when shimd started"))
                post.taken = taken.get(pod) or [""]
        waiting = [post for post in self._posts.values() if not post.may.is_set()]
        if len(waiting) > _FEW:
            self._many = asyncio.create_task(self._one_after_another(waiting), context=Context())
            return
        for post in waiting:
            post.may.set()

    async def _one_after_another(self, posts: list[_Post]) -> None:
        room = asyncio.Semaphore(_AT_ONCE)

        async def begun(post: _Post) -> None:
            async with room:
                post.may.set()
                await _pause(post.ready, READY)

        await _pause(self._go, _ALONE)
        await asyncio.gather(*(begun(post) for post in posts))

    def waiting(self) -> list[str]:
        """Pods whose shims will be started without being asked for."""
        return [pod for pod, post in self._posts.items() if not post.may.is_set()]

    def _open(self, pod: str, found: Shim | None, *, now: bool = True) -> _Post:
        post = self._posts[pod] = _Post(pod)
        if now:
            post.may.set()
        if found is not None:
            self._take(post, found)
            post.ready.set()
        # outlives the request that opened it: its log lines carry none of that one's ids
        post.task = asyncio.create_task(self._keep(post), context=Context())
        return post

    async def start(self, pod: str) -> int:
        """The pid of the pod's shim once it answers on the bus. Raises Unavailable, or OSError when the host
        is short of what it needs."""
        post = self._posts.get(pod)
        if post is None or post.ending.is_set():
            with _WANTED.of(pod):
                generation = self._roster.want(pod)
            post = self._open(pod, None)
            post.generation = generation
        elif not post.may.is_set():
            self._go.set()
            post.may.set()
        try:
            async with asyncio.timeout(READY):
                with _UP.of(pod):
                    known = post.refusals
                    while post.shim is None or not post.ready.is_set():
                        await post.ready.wait()
                        if post.refusals > known:
                            raise post.refused
        except TimeoutError as error:
            raise Unavailable(f"the shim of pod {pod} does not come up; the log of shimd says why") from error
        return post.shim.pid

    async def stop(self, pod: str) -> None:
        """No shim any more, whoever started it. Idempotent."""
        with _STRUCK.of(pod):
            self._roster.drop(pod)
        post = self._posts.get(pod)
        if post is not None:
            with _ENDED.of(pod):
                await self._close(post)
        stray = await adopt.find(self._roster.folder(pod))  # of a shimd that was killed while it started one
        if stray is not None:
            await _ended(stray)

    async def _close(self, post: _Post) -> None:
        post.ending.set()
        post.may.set()
        if post.shim is not None:
            post.shim.kill()
        if post.task is not None:
            await asyncio.wait({post.task})
        if self._posts.get(post.pod) is post:
            del self._posts[post.pod]

    def look(self) -> None:
        """To be called about once a second: a shim that is found stopped three times in a row is killed."""
        for post in self._posts.values():
            if post.shim is None or not hung.stopped(post.shim.pid):
                post.stopped = 0
                continue
            post.stopped += 1
            if post.stopped >= _STOPPED:
                _logger.error("shim was stopped", extra={"pod": post.pod, "pid": post.shim.pid})
                post.how = "it was stopped by a signal"
                post.shim.kill()

    def pids(self) -> dict[str, int]:
        return {pod: post.shim.pid for pod, post in self._posts.items() if post.shim is not None}

    async def close(self) -> None:
        """Watch no longer; the shims live on."""
        tasks = [post.task for post in self._posts.values() if post.task is not None]
        tasks += [self._many] if self._many is not None else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, post: _Post) -> None:
        """A shim for this pod, again and again, until it is to end."""
        deaths = 0
        await post.may.wait()
        try:
            while not post.ending.is_set():
                begun = time.monotonic()
                if post.shim is None:
                    try:
                        await self._begin(post)
                    except OSError as error:
                        _logger.error("shim cannot be started", extra={"pod": post.pod, "cause": str(error)})
                        post.refusals, post.refused = post.refusals + 1, error
                        post.ready.set()  # whoever waits now is told; who comes later waits for the next try
                        post.ready.clear()
                if post.shim is not None:
                    await self._watch(post, post.shim)
                deaths = deaths + 1 if time.monotonic() - begun < _YOUNG else 0
                if deaths > _FREE:
                    await _pause(post.ending, min(_LAST_PAUSE, _FIRST_PAUSE * 2 ** (deaths - _FREE - 1)))
        finally:
            post.lose(None)

    async def _begin(self, post: _Post) -> None:
        """One that lives, else a new one. Raises OSError."""
        found = await adopt.find(self._roster.folder(post.pod))
        if found is not None:
            self._take(post, found)
            post.ready.set()
            post.lose(None)
            return
        if post.ending.is_set():
            return
        # Also where somebody deleted the order: it still holds.
        generation, post.generation = post.generation or self._roster.want(post.pod), 0
        taken, post.taken = post.taken, ()
        read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            with _FORKED.of(post.pod):
                shim = await self._spawn("\n".join([f"{post.pod} {generation}", *taken]), write)
        except OSError:
            os.close(read)
            raise
        finally:
            os.close(write)
        self._take(post, shim)
        _when_said(read, lambda: self._ready(post, shim))

    def _ready(self, post: _Post, shim: Shim) -> None:
        post.ready.set()
        lost, post.lost = post.lost, None
        if lost is not None:
            event = Event(kind=SHIM_REPLACED, id=post.pod, pod=post.pod, at=time.time_ns())
            asyncio.get_running_loop().call_later(_REAPED, self._told, lost, event, shim.pid)

    def _told(self, lost: _Lost, event: Event, successor: int) -> None:
        detail = {"pid": str(lost.pid), "how": lost.end(), "successor": str(successor)}
        if lost.pidfd >= 0:
            os.close(lost.pidfd)
        self._tell(msgspec.structs.replace(event, detail=detail))

    def _take(self, post: _Post, shim: Shim) -> None:
        post.shim = shim
        if post.ending.is_set():
            shim.kill()

    async def _watch(self, post: _Post, shim: Shim) -> None:
        """Until it is dead. One that does not answer any more is killed."""
        checks = asyncio.create_task(self._check(post, shim))
        try:
            await adopt.gone(shim)
        finally:
            checks.cancel()
            await asyncio.gather(checks, return_exceptions=True)
        post.shim = None
        post.ready.clear()
        if not post.ending.is_set():
            _logger.warning("shim died", extra={"pod": post.pod, "pid": shim.pid})
        post.lose(_Lost(shim.pid, shim.pidfd, post.how))
        post.how = ""

    async def _check(self, post: _Post, shim: Shim) -> None:
        await post.ready.wait()
        while True:
            await _pause(post.ending, _CHECK)
            if post.ending.is_set():
                return
            if not await adopt.healthy(self._roster.folder(post.pod)) and not (post.ending.is_set() or shim.dead()):
                _logger.error("shim does not answer", extra={"pod": post.pod, "pid": shim.pid})
                post.how = "it did not answer"
                shim.kill()
                return


async def _ended(shim: Shim) -> None:
    shim.kill()
    await adopt.gone(shim)
    os.close(shim.pidfd)


async def _pause(unless: asyncio.Event, seconds: float) -> None:
    """So long, or until `unless`."""
    try:
        async with asyncio.timeout(seconds):
            await unless.wait()
    except TimeoutError:
        return


def _when_said(read: int, callback: Callable[[], None]) -> None:
    """Call back when a byte arrives on the pipe; never when it closes without one. Closes it."""
    loop = asyncio.get_running_loop()

    def readable() -> None:
        loop.remove_reader(read)
        data = os.read(read, 1)
        os.close(read)
        if data:
            callback()

    loop.add_reader(read, readable)
