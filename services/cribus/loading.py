"""While modules load nothing becomes garbage: without the collector that takes a seventh less. To be imported first."""

import gc
import os

_usual = os.getpriority(os.PRIO_PROCESS, 0)
gc.disable()


def behind(by: int) -> None:
    """Until all is loaded, let the others go first, who are so much less nice: for them more is waiting. Not where
    nobody may become less nice again (setpriority(2))."""
    os.nice(1)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _usual)
    except PermissionError:
        return
    os.nice(by)


def done() -> None:
    """All is loaded: it stays, and the collector needs not look at it again."""
    if os.getpriority(os.PRIO_PROCESS, 0) > _usual + 1:
        os.setpriority(os.PRIO_PROCESS, 0, _usual)
    gc.freeze()
    gc.enable()
