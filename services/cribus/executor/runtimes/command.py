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
_LONGEST = 300  # characters of a runtime's sentence
_DEADLINE = 30.0  # seconds
_BRIEF = {"kill": 10.0, "delete": 10.0}  # a container's time to end, and removals, wait for these
# A runtime tells no codes: of the usual causes its words must. In order runc's, crun's, gVisor's, youki's.
_ABSENT = (
    r'exec: ".*": (executable file not found|.*no such file or directory)',
    r"executable (file )?\S+ not found",
    r"(failed to load \S+|error finding executable .*): no such file or directory",
)
_UNFIT = (
    r'exec: ".*": (permission denied|is a directory|exec format error)',
    r"open executable: (permission denied|operation not permitted)",
    r"failed to load \S+: (permission denied|exec format error|is a directory)",
    r"does not have correct permissions|failed to chdir: E",
    r"chdir (to cwd )?\S+( set in config.json failed)?: (not a directory|no such file or directory|permission denied)",
)
_SCARCE = (r"no space left on device|too many open files|cannot allocate memory|resource temporarily unavailable",)
_CAUSES = tuple(
    (re.compile("|".join(words), re.IGNORECASE), kind)
    for words, kind in (
        (_ABSENT, errors.NotFound),
        (_UNFIT, errors.InvalidArgument),
        (_SCARCE, errors.ResourceExhausted),
    )
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
        raise _not_there(handler, found.path)
    return [path, *found.args]


def _not_there(handler: str, path: str) -> NotThere:
    return NotThere(f"runtime handler {handler!r}: {path} is no program; install it")


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
    before, seconds = _size(made.cwd, LOG), _BRIEF.get(words[0], _DEADLINE)
    try:
        ended = await programs.run(node, made._replace(stdin=stdin), seconds)
    except TimeoutError as error:
        raise hung(record, words[0], seconds) from error
    if ended.code:
        raise refused(record, words[0], said(f"{made.cwd}/{LOG}", before) or _last(ended.output))
    return ended.output


def _who(record: Record, word: str) -> str:
    """By the name that the configuration has, as the program may be one that only starts the runtime."""
    return f"{record.handler or os.path.basename(record.runtime[0])} {word}"


def hung(record: Record, word: str, seconds: float) -> errors.DeadlineExceeded:
    """A command of its was given up."""
    return errors.DeadlineExceeded(f"{_who(record, word)} hung, and was killed after {seconds:g} s")


def refused(record: Record, word: str, text: str) -> errors.CribusError:
    """What a runtime said when its command failed, as an error with the code that the cause has."""
    if not os.path.exists(record.runtime[0]):  # since the container was created
        return _not_there(record.handler, record.runtime[0])
    kind = next((kind for pattern, kind in _CAUSES if pattern.search(text)), errors.Internal)
    return kind(f"{_who(record, word)}: {text or 'failed without a word'}")


def _size(where: str, name: str) -> int:
    try:
        return os.stat(f"{where}/{name}").st_size
    except FileNotFoundError:
        return 0


def said(log: str, begin: int = 0) -> str:
    """The last error in a log of JSON lines, from that byte on, and the first, which tells where it comes from;
    "" without one."""
    try:
        text = files.read(log)[begin:].decode(errors="replace")
    except FileNotFoundError:
        return ""
    found = [one for one in map(_message, text.splitlines()) if one]
    if not found:
        return ""
    first, last = found[0], found[-1]
    return last if first in last else f"{last} ({first})"


def _message(entry: str) -> str:
    """What an error says, with what youki tells of its cause beside that; "" of anything else."""
    try:
        parsed: dict[str, Any] = json.loads(entry)
    except ValueError:
        return ""
    if str(parsed.get("level", "")).lower() not in ("error", "fatal"):
        return ""
    told = (str(parsed.get(name) or "") for name in ("msg", "message", "err", "e"))
    return ": ".join(text.splitlines()[0][:_LONGEST] for text in told if text)


def _last(output: str) -> str:
    return next((one.strip() for one in reversed(output.splitlines()) if one.strip()), "")
