"""One line of JSON an event on standard error, with the ids of what is being worked on.

The ids ride in a context variable, so that a line logged deep in a call carries its trace, pod and
container without anyone passing them along.
"""

import contextlib
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextvars import ContextVar

_ids: ContextVar[dict[str, str]] = ContextVar("ids")
_UNSAID = ("caller", "until")  # known to the code, of no use in a log
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class _Lines(logging.Formatter):
    def __init__(self, service: str, node: str) -> None:
        super().__init__()
        self._fixed = {"service": service, "node": node}

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **self._fixed,
            **{name: value for name, value in _ids.get({}).items() if name not in _UNSAID},
        }
        line.update((key, value) for key, value in record.__dict__.items() if key not in _STANDARD)
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def setup(service: str, *, node: str, level: str = "info") -> None:
    """Send every log line of this process to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(service, node))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


@contextlib.contextmanager
def ids(**known: str) -> Iterator[None]:
    """Within the block every line carries these ids too (pod, container, trace, …)."""
    token = _ids.set({**_ids.get({}), **{key: value for key, value in known.items() if value}})
    try:
        yield
    finally:
        _ids.reset(token)


def current(name: str) -> str:
    """The id of that name in force here, or an empty string."""
    return _ids.get({}).get(name, "")
