"""Which shim of a pod is the current one: shimd writes a growing generation into the order for it, before it starts
another. The one before has no business there any more, should it still live: stopped while it was killed, say.

Two shims never serve at once, because the second waits for the lock of the first (__main__); this is for the
moment in which the first goes on.
"""

import msgspec

from cribus import pulse
from cribus.linux import files

ENTRY = "shim.json"  # in the pod's run directory: this pod should have a shim (shimd/roster.py)


class Order(msgspec.Struct):
    """What is in the entry. 0 is of a version that counted none."""

    generation: int = 0


def ordered(folder: str) -> int | None:
    """The generation that this pod should have, 0 when the order is spoilt; None when it should have no shim."""
    try:
        return msgspec.json.decode(files.read(f"{folder}/{ENTRY}"), type=Order).generation
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        return 0


class Own(pulse.Own):
    """A shim, as one generation of its pod's."""

    def __init__(self, page: pulse.Page, folder: str, generation: int) -> None:
        super().__init__(page, "shim", generation)
        self._folder = folder

    def current(self) -> bool:
        return not self.generation or (ordered(self._folder) or 0) <= self.generation
