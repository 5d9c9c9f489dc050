"""run: create and start, and the exit code in the end."""

import json
from contextlib import ExitStack

from cribus.executor.runc_cli import control, forks, relay
from cribus.executor.runc_cli.box import Box
from cribus.executor.runc_cli.create import create
from cribus.executor.runc_cli.options import Line
from cribus.executor.runc_cli.start import start


def run(box: Box, line: Line) -> int:
    """Both; and unless detached, its exit code in the end."""
    detached = bool(line.given.get("detach"))
    with ExitStack() as stack:
        console = None
        if not detached and not line.given.get("console-socket") and _terminal(line):
            console = relay.Console(stack)
            line.given["console-socket"] = console.path
        create(box, line)
        pid = int(box.known()["pid"])
        start(box)
        if detached:
            return 0
        code = relay.wait(pid, console.master()) if console is not None else forks.wait(pid)
    if not line.given.get("keep"):
        control.delete(box, force=True)
    return code


def _terminal(line: Line) -> bool:
    with open(f"{line.given.get('bundle') or '.'}/config.json", "rb") as file:
        return bool((json.load(file).get("process") or {}).get("terminal"))
