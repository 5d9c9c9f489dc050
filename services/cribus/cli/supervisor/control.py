"""Asking supervisord over its control socket: XML-RPC by HTTP on a unix socket."""

import contextlib
import http.client
import socket
import time
import xmlrpc.client
from pathlib import Path
from typing import Any, NamedTuple

from cribus.cli.supervisor import configuration, daemon
from cribus.config import Settings
from cribus.errors import Internal, Unavailable
from cribus.pulse import Page

_NEWS = 24 * 3600 * 10**9  # ns
TIMEOUT = 5.0  # seconds for one answer


class Program(NamedTuple):
    """One service as supervisord sees it. `since` is ns since the epoch."""

    name: str
    state: str  # RUNNING, STARTING, BACKOFF, STOPPED, …
    pid: int
    since: int
    restarts: int
    hangs: int = 0  # how often it was replaced because it hung
    hung: str = ""  # how, the last time
    hung_at: int = 0  # and when


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(str(self._path))


def ask(settings: Settings, method: str, *params: Any) -> Any:
    """One RPC. Raises Unavailable when no supervisord listens, Internal when it refuses."""
    with contextlib.closing(_Connection(configuration.directory(settings) / "control.sock")) as connection:
        try:
            connection.request("POST", "/RPC2", xmlrpc.client.dumps(params, method), {"Content-Type": "text/xml"})
            body = connection.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable("the node is not running; `cribus up` starts it") from error
    try:
        return xmlrpc.client.loads(body)[0][0]
    except xmlrpc.client.Fault as error:
        raise Internal(f"supervisord refuses {method}: {error.faultString}") from error


def programs(settings: Settings) -> list[Program]:
    """Every service, who is asked before who asks. Raises Unavailable when the node is not running."""
    known = {one["name"]: one for one in ask(settings, "supervisor.getAllProcessInfo")}
    starts = ask(settings, "cribus.starts")
    page = Page(settings.run)
    return [
        Program(
            name=name,
            state=known[name]["statename"],
            pid=known[name]["pid"],
            since=known[name]["start"] * 10**9,
            restarts=max(0, starts.get(name, 0) - 1),
            **_hangs(page, name),
        )
        for name in configuration.services(settings)
        if name in known
    ]


def _hangs(page: Page, name: str) -> dict[str, Any]:
    count, at, why = page.hangs(name)
    return {"hangs": count, "hung": why, "hung_at": at}


def hangs(settings: Settings) -> list[tuple[str, int, int, str]]:
    """Every program of the node that hung within a day: name, how often in all, when last (ns since the epoch), how."""
    page = Page(settings.run)
    return [(name, *page.hangs(name)) for name in page.names() if page.hangs(name)[1] > time.time_ns() - _NEWS]


def supervised(settings: Settings) -> bool:
    """Whether there is a supervisord, or a guard that is about to start one."""
    folder = str(configuration.directory(settings))
    return bool(daemon.running(folder)) or daemon.guarded(folder)


def answers(settings: Settings) -> bool:
    try:
        ask(settings, "supervisor.getState")
    except Unavailable:
        return False
    return True
