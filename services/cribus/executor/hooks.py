"""OCI hooks: other people's programs at fixed points of a container's life. Most containers have none.

prestart, createRuntime, poststart and poststop run here, on the host; createContainer and startContainer
run in the container's init (child/hooks.py). Source: runtime-spec config.md "POSIX-platform Hooks", and
runtime.md "Lifecycle".
"""

import json
import logging
from typing import Any

from cribus.errors import FailedPrecondition
from cribus.executor import programs
from cribus.executor.node import Node
from cribus.executor.plan.hooks import Hook
from cribus.executor.programs import Program

_logger = logging.getLogger(__name__)


async def run(node: Node, hooks: list[Hook], state: dict[str, Any]) -> None:
    """One after the other. Raises FailedPrecondition with the first that fails."""
    for hook in hooks:
        why = await _failure(node, hook, state)
        if why:
            raise FailedPrecondition(why)


async def run_all(node: Node, hooks: list[Hook], state: dict[str, Any]) -> None:
    """Each, whatever becomes of the others."""
    for hook in hooks:
        why = await _failure(node, hook, state)
        if why:
            _logger.warning("hook failed", extra={"container": state["id"], "cause": why})


async def _failure(node: Node, hook: Hook, state: dict[str, Any]) -> str:
    kind, path, args, env, timeout = hook
    program = Program(path, args, env, json.dumps(state).encode())
    try:
        ended = await programs.run(node, program, timeout or None)
    except TimeoutError:
        return f"{kind} hook {path} was killed after its {timeout} s"
    if not ended.code:
        return ""
    lines = ended.output.strip().splitlines()
    return f"{kind} hook {path} ended with {ended.code}" + (f": {lines[-1]}" if lines else "")
