"""Short-lived children of the fork server that do one thing and say how it went (child/failure.py)."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

from cribus import errors
from cribus.executor import waiting
from cribus.executor.child import failure
from cribus.forkserver import Spawned

_DEADLINE = 20.0  # seconds

Run = Callable[[dict[str, Any], list[int]], Awaitable[Spawned]]


async def begin(run: Run, request: dict[str, Any]) -> "Child":
    """Fork one by `run`, with its error pipe as only descriptor; its `ready` must be awaited."""
    read, write = os.pipe()
    try:
        child = await run(request, [write])
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)
    return Child(read, child)


class Child:
    """One that was forked."""

    def __init__(self, read: int, child: Spawned) -> None:
        self._read = read
        self._child = child

    async def ready(self, what: str) -> str:
        """What it says when it is ready, beyond that word.

        Raises what it reports; DeadlineExceeded or Internal, with `what` as the subject, when it hangs or dies.
        """
        try:
            with waiting.overseen(self._child):
                said = await waiting.text(self._read, _DEADLINE)
        except TimeoutError as error:
            raise errors.DeadlineExceeded(f"{what} not made within {_DEADLINE:g} s") from error
        finally:
            os.close(self._read)
            os.close(self._child.pidfd)
        _, refused, ready = failure.read(said)
        if refused:
            raise errors.from_code(*refused)
        if not ready:
            raise errors.Aborted(f"{what} not made: the process that does it was killed; repeat")
        return said.partition(" ")[2].strip()
