"""Commands of an outside runtime with runc's command line: how they are called, and what they say.

Source: the OCI runtime command line interface, and runc(8) beyond it.
"""

import json
import os
import re
import shutil
from typing import Any

from cribus import errors
from cribus.executor import programs
from cribus.executor.node import Node
from cribus.executor.programs import Program
from cribus.executor.state import Record
from cribus.linux import files

LOG = "log.json"
_DEADLINE = 30.0  # seconds
_CAUSES = (
    (re.compile(r"executable .*not found|exec.*no such file or directory", re.IGNORECASE), errors.NotFound),
    (re.compile(r"exec.*(permission denied|exec format error)", re.IGNORECASE), errors.InvalidArgument),
)


class NotThere(errors.FailedPrecondition):
    """A runtime handler that this node has not, or whose program it has not."""


def program(node: Node, handler: str) -> list[str]:
    """The configured program with its arguments; [] for the built-in runtime.

    Raises NotThere.
    """
    found = node.handlers.get(handler)
    if found is None and handler:
        raise NotThere(f"runtime handler {handler!r} is not configured; see handlers in config.toml")
    if found is None or not found.path:
        return []
    path = shutil.which(found.path)
    if path is None:
        raise NotThere(f"runtime handler {handler!r}: {found.path} is no program; install it")
    return [path, *found.args]


def home(node: Node, container: str) -> str:
    """The directory of what the runtime keeps and is given; it goes with the container's."""
    return f"{node.bundle(container)}/outside"


def line(node: Node, record: Record, words: list[str], log: str = LOG) -> Program:
    """The whole command line. Its state lies in the container's own directory, so nothing can be left."""
    where = home(node, record.container)
    fixed = ["--root", f"{where}/root", "--log", f"{where}/{log}", "--log-format", "json"]
    systemd = ["--systemd-cgroup"] if node.tree.driver == "systemd" else []
    argv = [*record.runtime, *fixed, *systemd, *words]
    return Program(argv[0], argv, dict(os.environ), cwd=where)


async def run(node: Node, record: Record, words: list[str], stdin: bytes = b"") -> str:
    """Run a command to its end: its output. Raises what it says when it fails, DeadlineExceeded."""
    made = line(node, record, words)
    before = _size(made.cwd, LOG)
    try:
        ended = await programs.run(node, made._replace(stdin=stdin), _DEADLINE)
    except TimeoutError as error:
        raise errors.DeadlineExceeded(f"{_named(record, words[0])} was killed after {_DEADLINE:g} s") from error
    if ended.code:
        raise refused(_named(record, words[0]), said(f"{made.cwd}/{LOG}", before) or _last(ended.output))
    return ended.output


def _named(record: Record, word: str) -> str:
    return f"{os.path.basename(record.runtime[0])} {word}"


def refused(who: str, text: str) -> errors.CribusError:
    """A runtime's own words as an error; it tells no codes, so of the usual ones the words must."""
    kind = next((kind for pattern, kind in _CAUSES if pattern.search(text)), errors.Internal)
    return kind(f"{who}: {text or 'failed without a word'}")


def _size(where: str, name: str) -> int:
    try:
        return os.stat(f"{where}/{name}").st_size
    except FileNotFoundError:
        return 0


def said(log: str, begin: int = 0) -> str:
    """The last error in a log of JSON lines, from that byte on; "" without one."""
    try:
        text = files.read(log)[begin:].decode(errors="replace")
    except FileNotFoundError:
        return ""
    found = [_message(entry) for entry in text.splitlines()]
    return next((one for one in reversed(found) if one), "")


def _message(entry: str) -> str:
    try:
        parsed: dict[str, Any] = json.loads(entry)
    except ValueError:
        return ""
    if str(parsed.get("level", "")).lower() not in ("error", "fatal"):
        return ""
    text = str(parsed.get("msg") or parsed.get("message") or "")
    return text.splitlines()[0] if text else ""


def _last(output: str) -> str:
    return next((one.strip() for one in reversed(output.splitlines()) if one.strip()), "")
