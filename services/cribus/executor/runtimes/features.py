"""What each runtime handler can do: the built-in one what the kernel can, an outside one what it says.

Source: runtime-spec features.md; a runtime without that command has neither.
"""

import asyncio
import json
import logging
import math
import os
import platform
from typing import Any

from cribus.api.executor import Features, Handlers
from cribus.executor import programs
from cribus.executor.node import Node
from cribus.executor.programs import Program
from cribus.executor.runtimes import command

_DEADLINE = 10.0  # seconds
_logger = logging.getLogger(__name__)
_AGAIN = 300.0  # seconds after which one that hung is asked again: it may have been the host
_known: dict[tuple[str, int], tuple[Features, float]] = {}  # by program and the time of its file; until when


async def every(node: Node) -> Handlers:
    """All of the configuration and the one without a name. One whose program is not there can nothing."""
    found = {}
    for name in sorted({"", *node.handlers}):
        given = node.handlers.get(name)
        found[name] = await _outside(node, name) if given and given.path else _kernel()
    return Handlers(handlers=found)


def _kernel() -> Features:
    """Linux 5.12 has recursive attributes of mounts, 5.19 overlayfs under idmapped mounts."""
    release = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
    return Features(recursive_readonly=release >= (5, 12), idmapped=release >= (5, 19))


async def _outside(node: Node, name: str) -> Features:
    try:
        program = command.program(node, name)
        key = (program[0], os.stat(program[0]).st_mtime_ns)
    except (command.NotThere, FileNotFoundError) as error:
        return Features(missing=str(error))
    found, until = _known.get(key, (Features(), 0.0))
    if until < asyncio.get_running_loop().time():
        try:
            found, until = await _asked(node, program), math.inf
        except TimeoutError:
            _logger.warning("a runtime hung that was asked what it can", extra={"handler": name, "program": program[0]})
            until = asyncio.get_running_loop().time() + _AGAIN
        _known[key] = found, until
    return found


async def _asked(node: Node, program: list[str]) -> Features:
    """Raises TimeoutError."""
    ended = await programs.run(node, Program(program[0], [*program, "features"], dict(os.environ)), _DEADLINE)
    try:
        said = json.loads(ended.output) if not ended.code else {}
    except ValueError:
        said = {}
    return read(said) if isinstance(said, dict) else Features()


def read(said: dict[str, Any]) -> Features:
    """The answer of `features`, and what of it this kernel can."""
    kernel = _kernel()
    extensions = (said.get("linux") or {}).get("mountExtensions") or {}
    idmapped = bool((extensions.get("idmap") or {}).get("enabled"))
    return Features(
        recursive_readonly=kernel.recursive_readonly and "rro" in (said.get("mountOptions") or []),
        idmapped=kernel.idmapped and idmapped,
    )
