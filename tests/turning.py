"""A loop that runs until a condition holds."""

import time
from collections.abc import Callable

from cribus.shim.loop import Loop


class Turning:
    def __init__(self) -> None:
        self.loop = Loop()

    def until(self, check: Callable[[], object], seconds: float = 10) -> None:
        end = time.monotonic() + seconds

        def look() -> None:
            if check():
                self.loop.stop()
            else:
                assert time.monotonic() < end, "not within its time"
                self.loop.later(0.002, look)

        look_first = self.loop.soon(look)
        self.loop.run()
        look_first.cancel()
