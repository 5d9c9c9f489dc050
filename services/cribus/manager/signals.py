"""Stop signals: CRI's enumeration, an image's StopSignal, and what kill(2) takes."""

import functools
import signal

from cribus.api.cri.values import Signal
from cribus.errors import InvalidArgument

DEFAULT = "SIGTERM"
_SYNONYMS = {"SIGCLD": "SIGCHLD", "SIGIOT": "SIGABRT", "SIGPOLL": "SIGIO"}


def name(asked: Signal, of_image: str) -> str:
    """The signal that asks a container to end, by its name: what CRI says, else what the image says.

    Raises InvalidArgument for a signal that does not exist.
    """
    if asked is not Signal.SIGNAL_RUNTIME_DEFAULT:
        return _spelled(asked.name.removeprefix("SIGNAL_"))
    if not of_image:
        return DEFAULT
    number(of_image)
    return of_image


def number(name: str) -> int:
    """What kill(2) takes, for SIGTERM, TERM, 15, SIGRTMIN+3. Raises InvalidArgument."""
    if name.isdigit() and 0 < int(name) <= int(signal.SIGRTMAX):
        return int(name)
    full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    full = _SYNONYMS.get(full, full)
    for edge, sign in (("SIGRTMIN+", 1), ("SIGRTMAX-", -1)):
        if full.startswith(edge) and full[len(edge) :].isdigit():
            found = int(getattr(signal, edge[:-1])) + sign * int(full[len(edge) :])
            if int(signal.SIGRTMIN) <= found <= int(signal.SIGRTMAX):
                return found
    try:
        return int(signal.Signals[full])
    except KeyError as error:
        raise InvalidArgument(f"there is no signal {name!r}; an example of a good one is SIGTERM") from error


@functools.cache
def as_cri(name: str) -> Signal:
    """The signal in CRI's enumeration."""
    wanted = number(name)
    for one in Signal:
        if one is not Signal.SIGNAL_RUNTIME_DEFAULT and _number_of(one) == wanted:
            return one
    return Signal.SIGNAL_RUNTIME_DEFAULT


def _number_of(one: Signal) -> int:
    return number(_spelled(one.name.removeprefix("SIGNAL_")))


def _spelled(name: str) -> str:
    return name.replace("MINPLUS", "MIN+").replace("MAXMINUS", "MAX-")
