"""One process, one thread, one epoll: callbacks for descriptors and for moments in time.

A callback that raises ends the process: what it was doing is continued by the next one.
"""

import heapq
import select
import time
from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
HANGUP = select.EPOLLHUP


class Timer:
    """Something that will be called, unless cancelled."""

    __slots__ = ("at", "callback")

    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at = at
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None

    def __lt__(self, other: "Timer") -> bool:
        return self.at < other.at


class Loop:
    def __init__(self) -> None:
        self._poll = select.epoll()
        self._watched: dict[int, Callable[[int], None]] = {}
        self._fresh: set[int] = set()  # watched since the last look: what that saw is of who had the number before
        self._timers: list[Timer] = []
        self._running = False

    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Call back with what happened, as long as it is so; replaces an earlier watch of `fd`.

        With `events` 0 only hang-up and error are told.
        """
        if fd in self._watched:
            self._poll.modify(fd, events)
        else:
            self._poll.register(fd, events)
            self._fresh.add(fd)
        self._watched[fd] = callback

    def forget(self, fd: int) -> None:
        """Watch no longer; to be called before the descriptor is closed, because others hold copies. Idempotent."""
        if self._watched.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(time.monotonic() + seconds, callback)
        heapq.heappush(self._timers, timer)
        return timer

    def soon(self, callback: Callable[[], None]) -> Timer:
        """Call back when the current callbacks are done."""
        return self.later(0.0, callback)

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        """Until `stop`."""
        self._running = True
        while self._running:
            self._fresh.clear()
            for fd, events in self._poll.poll(self._patience()):
                callback = self._watched.get(fd)
                if callback is not None and fd not in self._fresh:  # else an earlier callback forgot it
                    callback(events)
            self._fire()

    def _patience(self) -> float | None:
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0].at - time.monotonic()) if self._timers else None

    def _fire(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0].at <= now:
            callback = heapq.heappop(self._timers).callback
            if callback is not None:
                callback()
