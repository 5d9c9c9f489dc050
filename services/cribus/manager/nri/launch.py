"""Plugins that the manager starts itself: programs called NN-name in a folder, as containerd's.

Each has a socket from its birth (`NRI_PLUGIN_SOCKET` is its descriptor) and goes with the manager. One that ends is
not started again before the next manager.
"""

import asyncio
import contextlib
import logging
import os
import re
import signal
import socket
from typing import NamedTuple

from cribus.config import Nri
from cribus.manager.nri.admit import admit
from cribus.manager.nri.link import Streams
from cribus.manager.nri.plugin import Launched
from cribus.manager.nri.rounds import Rounds

_NAME = re.compile(r"([0-9]{2})-([A-Za-z0-9._+-]+)")
_LINE = 4096  # bytes of its output that are logged at a time
_logger = logging.getLogger(__name__)


class Program(NamedTuple):
    number: str
    base: str
    path: str


def programs(folder: str) -> list[Program]:
    """Those of the folder, in the order of their names. What has another name is told and left alone."""
    found = []
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        if not entry.is_file() or not os.access(entry.path, os.X_OK):
            continue
        match = _NAME.fullmatch(entry.name)
        if match:
            found.append(Program(match[1], match[2], entry.path))
        else:
            _logger.error("not an NRI plugin: its name is not NN-name", extra={"path": entry.path})
    return found


def configuration(folder: str, program: Program) -> str:
    """The text of NN-name.conf or else of name.conf; empty without either."""
    for name in (f"{program.number}-{program.base}.conf", f"{program.base}.conf"):
        with contextlib.suppress(FileNotFoundError), open(f"{folder}/{name}", encoding="utf-8") as file:
            return file.read()
    return ""


async def launched(rounds: Rounds, settings: Nri) -> list[asyncio.Task[None]]:
    """Start all of them: one task each, until it is gone. Waits until each is asked from now on, or was given up."""
    known, tasks = [], []
    for program in programs(settings.plugins):
        config = configuration(settings.plugin_configs, program)
        known.append(Launched(program.number, program.base, config, asyncio.Event()))
        tasks.append(asyncio.create_task(_served(rounds, program, known[-1])))
    for one in known:
        await one.ready.wait()
    return tasks


async def _served(rounds: Rounds, program: Program, known: Launched) -> None:
    try:
        process, streams = await _started(program)
        saying = asyncio.create_task(_logged(program, process))
        try:
            await admit(rounds, streams, known)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            await saying
    except OSError as error:
        why = {"path": program.path, "cause": error.strerror}
        _logger.error("an NRI plugin cannot be started", extra=why)
    except Exception:  # nobody waits for this task: what it dies of would be lost
        _logger.exception("an NRI plugin could not be served")
    finally:
        known.ready.set()


async def _started(program: Program) -> tuple[asyncio.subprocess.Process, Streams]:
    ours, theirs = socket.socketpair()
    with theirs:
        environment = {
            "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            "NRI_PLUGIN_IDX": program.number,
            "NRI_PLUGIN_NAME": program.base,
            "NRI_PLUGIN_SOCKET": str(theirs.fileno()),
        }
        try:
            process = await asyncio.create_subprocess_exec(
                "setpriv", "--pdeathsig", "KILL", program.path, env=environment, cwd="/", start_new_session=True,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
                pass_fds=(theirs.fileno(),),
            )  # fmt: skip
        except OSError:
            ours.close()
            raise
    return process, await asyncio.open_unix_connection(sock=ours)


async def _logged(program: Program, process: asyncio.subprocess.Process) -> None:
    """What it writes, until it closes its output."""
    assert process.stdout is not None
    while text := await process.stdout.read(_LINE):
        for line in text.decode(errors="replace").splitlines():
            _logger.info("an NRI plugin says", extra={"plugin": f"{program.number}-{program.base}", "line": line})
