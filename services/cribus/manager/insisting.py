"""Asking again where giving up would undo what may be done, or leave what is half undone."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from cribus.errors import DeadlineExceeded, Unavailable

T = TypeVar("T")
_PATIENCE = 20.0  # seconds: a service that was killed is back within two


async def insisted(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer; asked again while nobody can be reached, which each time takes the bus a second to find out.

    Raises Unavailable or DeadlineExceeded after 20 s.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + _PATIENCE
    while True:
        try:
            return await ask()
        except (Unavailable, DeadlineExceeded):
            if loop.time() > end:
                raise
