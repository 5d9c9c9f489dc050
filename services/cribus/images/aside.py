"""Digests, computed by a thread of their own while another inflates and a third writes."""

import hashlib
import queue
import threading

_BEHIND = 8  # chunks


class Digests:
    """A thread that hashes. `close` it after use."""

    def __init__(self) -> None:
        self._left: queue.Queue[tuple[Sha256, bytes] | None] = queue.Queue(_BEHIND)
        threading.Thread(target=self._run, name="digests", daemon=True).start()

    def _run(self) -> None:
        while (one := self._left.get()) is not None:
            one[0].own.update(one[1])
            self._left.task_done()

    def new(self) -> "Sha256":
        return Sha256(self._left)

    def close(self) -> None:
        """Let the thread end, once it has done what it was given."""
        self._left.put(None)


class Sha256:
    """One digest."""

    def __init__(self, left: "queue.Queue[tuple[Sha256, bytes] | None]") -> None:
        self.own = hashlib.sha256()
        self._left = left

    def update(self, chunk: bytes) -> None:
        self._left.put((self, chunk))

    def digest(self) -> str:
        """`sha256:` and the hash of everything so far."""
        self._left.join()
        return "sha256:" + self.own.hexdigest()
