"""runc's command line, read. By hand, because argparse alone takes as long to import as all that we need."""

from typing import Any, NamedTuple

from cribus.errors import InvalidArgument

_GLOBAL = {"root": 1, "log": 1, "log-format": 1, "systemd-cgroup": 0, "debug": 0, "rootless": 1, "version": 0, "v": 0}
_MAKE = {"bundle": 1, "pid-file": 1, "console-socket": 1, "no-pivot": 0, "no-new-keyring": 0, "preserve-fds": 1}
_LIMITS = dict.fromkeys(("memory", "memory-swap", "memory-reservation", "pids-limit", "cpu-period", "cpu-quota"), 1)
_LIMITS |= dict.fromkeys(("cpu-share", "cpu-burst", "cpu-idle", "cpuset-cpus", "cpuset-mems", "blkio-weight"), 1)
# name → how many values: 0 none, 1 one, 2 one each time it is given
COMMANDS: dict[str, dict[str, int]] = {
    "create": _MAKE,
    "run": {**_MAKE, "detach": 0, "keep": 0},
    "start": {},
    "state": {},
    "kill": {"all": 0},
    "delete": {"force": 0},
    "exec": {
        "process": 1, "detach": 0, "tty": 0, "pid-file": 1, "console-socket": 1, "user": 1, "cwd": 1, "env": 2,
        "cap": 2, "additional-gids": 2, "no-new-privs": 0, "preserve-fds": 1, "ignore-paused": 0,
    },
    "list": {"format": 1, "quiet": 0},
    "ps": {"format": 1},
    "pause": {},
    "resume": {},
    "update": {"resources": 1, **_LIMITS},
    "events": {"stats": 0, "interval": 1},
    "spec": {"bundle": 1},
    "features": {},
}  # fmt: skip
_SHORT = {
    "b": "bundle", "d": "detach", "a": "all", "f": "force", "p": "process", "t": "tty", "u": "user", "e": "env",
    "c": "cap", "g": "additional-gids", "q": "quiet", "r": "resources",
}  # fmt: skip
_SHORT_OF = {"list": {"f": "format"}, "ps": {"f": "format"}}


class Line(NamedTuple):
    """`general` before the command, `given` after it; both by long name."""

    general: dict[str, Any]
    command: str
    given: dict[str, Any]
    args: list[str]


def parse(argv: list[str]) -> Line:
    """Raises InvalidArgument for what there is not."""
    general, rest = _options(argv, _GLOBAL, {"v": "version"})
    command = rest[0] if rest else "help"
    if command not in COMMANDS:
        return Line(general, command, {}, rest[1:])
    given, args = _options(rest[1:], COMMANDS[command], {**_SHORT, **_SHORT_OF.get(command, {})})
    return Line(general, command, given, args)


def ignored(line: Line) -> list[str]:
    """Options of runc's that are taken and have no effect, a sentence each."""
    asked = [name for name in ("no-pivot", "preserve-fds") if line.given.get(name) not in (None, False, "0")]
    return [f"option --{name} is ignored" for name in asked]


def _options(argv: list[str], known: dict[str, int], short: dict[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Up to the first word that is none: whatever follows may be a program's."""
    found: dict[str, Any] = {}
    words = list(argv)
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)
        if word == "--":
            break
        name, equals, value = word.lstrip("-").partition("=")
        name = short.get(name, name)
        if name not in known:
            raise InvalidArgument(f"{word} is no option here")
        if not known[name]:
            found[name] = value != "false"
            continue
        if not equals:
            if not words:
                raise InvalidArgument(f"{word} wants a value")
            value = words.pop(0)
        found[name] = [*found.get(name, []), value] if known[name] == 2 else value
    return found, words
