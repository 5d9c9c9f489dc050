"""Long work on the node's own disk: in a thread of its own that is given up after a deadline. What may lie on
somebody else's file system is looked at by another process: looker.py."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from cribus.errors import DeadlineExceeded

T = TypeVar("T")
PATIENCE = 10.0  # seconds


async def run(look: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """What `look` answers or raises. Raises DeadlineExceeded when it takes longer than it may."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, failure = None, None
        try:
            result = look()
        except Exception as error:  # noqa: BLE001 whoever waits gets it
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop was closed while this hung
            loop.call_soon_threadsafe(settle, result, failure)

    # A daemon: a thread that hangs in the kernel must not keep the process from ending.
    threading.Thread(target=work, daemon=True, name=f"look: {what}").start()
    try:
        async with asyncio.timeout(seconds):
            return await done
    except TimeoutError as error:
        raise DeadlineExceeded(f"{what} gives no answer within {seconds:g} s; is the disk sick?") from error
