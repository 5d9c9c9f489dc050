"""The program `criu`, which belongs to the host: where it is, and whether it works with this kernel.

Source: criu(8), `criu check`.
"""

import os
import re
import shutil

from cribus.api.executor import Criu
from cribus.errors import FailedPrecondition
from cribus.executor import programs
from cribus.executor.node import Node
from cribus.executor.programs import Program

_DEADLINE = 30.0  # seconds; it asks the kernel some hundred things
_ERROR = re.compile(r"Error +\([^)]*\): *(.*)")
_ADMIN = "/usr/local/sbin:/usr/sbin:/sbin"  # where Debian has it, whatever the services' own PATH is


def path() -> str:
    """Where criu is, or ""."""
    return shutil.which("criu", path=f"{os.environ.get('PATH', os.defpath)}:{_ADMIN}") or ""


async def known(node: Node) -> Criu:
    """Whether this host can checkpoint and restore. criu is asked once for each file of that name."""
    program = path()
    if not program:
        return Criu(missing="criu is not installed; apt-get install criu")
    seen = os.stat(program)
    key = (program, seen.st_ino, seen.st_mtime_ns)
    if key not in node.criu:
        node.criu[key] = await _asked(node, program)
    return node.criu[key]


async def _asked(node: Node, program: str) -> Criu:
    version = await _run(node, [program, "--version"])
    check = await _run(node, [program, "check"])
    number = next(iter(re.findall(r"Version: *(\S+)", version.output)), "")
    if check.code == 0:
        return Criu(version=number)
    said = errors(check.output) or [f"it ended with {check.code}"]
    kernel = os.uname().release
    return Criu(version=number, missing=f"criu {number} does not work with this host's kernel {kernel}: {said[0]}")


async def _run(node: Node, argv: list[str]) -> programs.Ended:
    try:
        return await programs.run(node, Program(argv[0], argv, dict(os.environ)), _DEADLINE)
    except TimeoutError:
        return programs.Ended(124, f"Error (): it did not end within {_DEADLINE:g} s")


def errors(text: str) -> list[str]:
    """The errors in a log of criu's, first one first."""
    return [found[1].strip() for found in map(_ERROR.search, text.splitlines()) if found]


async def need(node: Node) -> str:
    """Its path. Raises FailedPrecondition with the reason where it does not work."""
    found = await known(node)
    if found.missing:
        raise FailedPrecondition(f"this host cannot checkpoint or restore: {found.missing}")
    return path()
