"""A process's output on its way to whoever reads it: into memory that outlives the shim (kept.py).

    pipe --splice--> kept            terminal --splice--> stage (a pipe that the keeper holds) --splice--> kept

The kernel splices only where one of the two is a pipe. Output that nobody asked for goes to /dev/null.
"""

import os

from cribus.linux import fds as descriptors
from cribus.shim.kept import Kept
from cribus.shim.pump import Tools


class Outlet:
    """`source` is read; `stage` is -1 for a pipe. Their descriptors stay the caller's."""

    def __init__(self, tools: Tools, source: int, stage: int = -1, kept: Kept | None = None) -> None:
        self.source = source
        self.kept = kept
        self._stage = stage
        self._null = tools.null
        os.set_blocking(source, False)

    def move(self, most: int) -> int | None:
        """At most so many bytes: how many; 0 at the end of the output, None when there is nothing now."""
        try:
            if self._stage < 0:
                return self._keep(self.source, most)
            if not self.staged() and not os.splice(self.source, self._stage, most, flags=2):
                return 0
            return self._keep(self._stage, most)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != 5:  # EIO: nobody has the terminal any more
                raise
            return 0

    def _keep(self, source: int, most: int) -> int:
        room = self.kept.room() if self.kept is not None else 0
        if self.kept is None or not room:
            return os.splice(source, self._null, most, flags=2)
        return self.kept.splice(source, min(most, room))

    def staged(self) -> int:
        """How many bytes were taken off the source already, so that it tells of them no more."""
        return descriptors.level(self._stage) if self._stage >= 0 else 0

    def waiting(self) -> int:
        """How many bytes are there now."""
        return descriptors.level(self.source) + self.staged()
