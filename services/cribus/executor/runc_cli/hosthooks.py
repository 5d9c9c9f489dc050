"""Hooks on the host, run by the command line itself, which may simply wait."""

import json
import sys
from collections.abc import Sequence

from cribus.errors import FailedPrecondition
from cribus.executor.plan import hooks
from cribus.executor.runc_cli.box import Box


def run(box: Box, kinds: Sequence[str], status: str) -> None:
    """One after the other. Raises FailedPrecondition with the first that fails."""
    for hook in _of(box, kinds):
        why = _failure(box, hook, status)
        if why:
            raise FailedPrecondition(why)


def run_all(box: Box, kinds: Sequence[str], status: str) -> None:
    """Each, whatever becomes of the others."""
    for hook in _of(box, kinds):
        why = _failure(box, hook, status)
        if why:
            sys.stderr.write(f"{why}\n")


def _of(box: Box, kinds: Sequence[str]) -> list[hooks.Hook]:
    return hooks.of(box.spec(), *kinds)


def _failure(box: Box, hook: hooks.Hook, status: str) -> str:
    import subprocess  # few containers have hooks

    kind, path, args, env, timeout = hook
    known = box.known()
    base = hooks.base(box.spec(), box.id, known["bundle"])
    state = {**base, "status": status, "pid": 0 if status == "stopped" else known["pid"]}
    try:
        done = subprocess.run(
            args, executable=path, env=env, input=json.dumps(state), capture_output=True, text=True,
            timeout=timeout or None, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"{kind} hook {path} was killed after its {timeout} s"
    except OSError as error:
        return f"{kind} hook {path}: {error.strerror}"
    lines = (done.stdout + done.stderr).strip().splitlines()
    return f"{kind} hook {path} ended with {done.returncode}: {lines[-1] if lines else ''}" if done.returncode else ""
