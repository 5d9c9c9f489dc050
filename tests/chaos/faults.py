"""Faults at steps (cribus/steps.py): who does a step is halted there until the test has done its worst."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness import Node

_LOOK = 0.002  # seconds between two looks whether somebody is halted
_KNOWN = """
import importlib, pkgutil, cribus
from cribus import steps
for found in pkgutil.walk_packages(cribus.__path__, "cribus."):
    importlib.import_module(found.name)
print("\\n".join(sorted(steps.known)))
"""


def known() -> list[str]:
    """The steps of every process, whichever module has them. Asked in a process of its own: the gateway's
    generated messages and those of a client cannot be in one."""
    done = subprocess.run([sys.executable, "-c", _KNOWN], capture_output=True, text=True, check=True)
    return done.stdout.split()


class Faults:
    """The folder that the node's processes have as $CRIBUS_FAULTS."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def laid_for(self, node: Node) -> None:
        """Before the node is started."""
        node.env["CRIBUS_FAULTS"] = str(self.folder)

    @contextmanager
    def halt(self, step: str, strike: Callable[[int], str]) -> Iterator[threading.Event]:
        """While inside, the first process that does the step is halted, and `strike` is called with its pid
        as it knows itself; what that answers are the signals that the process sends before it goes on.
        The event is set when that has happened."""
        path = self.folder / step
        aside = self.folder / "aside"
        os.mkfifo(aside)
        ours = os.open(aside, os.O_RDWR | os.O_CLOEXEC)  # from the start: whoever reads there waits for us
        aside.rename(path)
        struck, over = threading.Event(), threading.Event()

        def lie_in_wait() -> None:
            while not over.wait(_LOOK):
                for taken in self.folder.glob(f"{step}.*.done"):
                    os.write(ours, f"{strike(int(taken.name.split('.')[-2]))}.\n".encode())
                    struck.set()
                    return

        waiting = threading.Thread(target=lie_in_wait, name=step)
        waiting.start()
        try:
            yield struck
        finally:
            over.set()
            waiting.join(30)
            path.unlink(missing_ok=True)
            if not struck.is_set():  # whoever has just come goes on unharmed
                os.write(ours, b".\n")
            for taken in self.folder.glob(f"{step}.*.done"):
                taken.unlink()
            os.close(ours)

    @contextmanager
    def recorded(self) -> Iterator[list[str]]:
        """The steps that were passed while inside, in the order of their first time."""
        folder = self.folder / "passed"
        folder.mkdir()
        names: list[str] = []
        try:
            yield names
        finally:
            names += [one.name for one in sorted(folder.iterdir(), key=lambda one: one.stat().st_ctime_ns)]
            folder.rename(self.folder / "over")
            for one in (self.folder / "over").iterdir():
                one.unlink()
            (self.folder / "over").rmdir()
