"""Putting another process in a service's place, without touching the others.

supervisord is given the configuration anew; the service's group is then taken out and put in again,
which starts it by its new command line.
"""

import re
import time

from cribus.bus.connection import pause
from cribus.cli.supervisor import configuration, control
from cribus.config import Settings
from cribus.errors import DeadlineExceeded

_RETRY = 0.02  # seconds between two looks at what supervisord tells only when asked
_ENDED = ("STOPPED", "EXITED", "FATAL")
_STOP = 20.0  # seconds for a service to end; supervisord kills it after ten


def interpreter(text: str) -> str:
    """The Python by whose environment a configuration runs the services."""
    found = re.search(r"^command=setpriv --pdeathsig KILL (\S+) -m cribus\.manager$", text, re.MULTILINE)
    return found[1] if found else ""


async def replace(settings: Settings, name: str) -> None:
    """Stop one service and start it as the configuration has it now. Raises DeadlineExceeded."""
    control.ask(settings, "supervisor.reloadConfig")
    if _state(settings, name) not in _ENDED:
        control.ask(settings, "supervisor.stopProcess", name, False)
    end = time.monotonic() + _STOP
    while _state(settings, name) not in _ENDED:
        if time.monotonic() > end:
            raise DeadlineExceeded(f"{name} does not end; see {configuration.logs(settings)}/{name}.log")
        await pause(_RETRY)
    control.ask(settings, "supervisor.removeProcessGroup", name)
    control.ask(settings, "supervisor.addProcessGroup", name)


def _state(settings: Settings, name: str) -> str:
    return str(control.ask(settings, "supervisor.getProcessInfo", name)["statename"])


def pid(settings: Settings, name: str) -> int:
    """0 while it does not run."""
    return next((one.pid for one in control.programs(settings) if one.name == name), 0)
