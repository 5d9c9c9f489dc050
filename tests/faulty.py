"""A registry that misbehaves: HTTP in front of a true one, which counts what is asked and does wrong as told."""

import base64
import http.client
import json
import socket
import struct
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.registry import Registry

TOKEN = "a-token-of-this-test"
IDENTITY = "an-identity-of-this-test"
USER, PASSWORD = "me", "secret"


@dataclass
class Answer:
    """What the true registry says, before a fault is put on it."""

    status: int
    headers: dict[str, str]
    body: bytes
    cut: int = -1  # reset the connection after so many bytes of the body
    stall: int = -1  # send no more after so many, until the front is released


Fault = Callable[[Answer], Answer]


@dataclass
class Rule:
    """The fault that the next `times` answers get whose path holds `path`."""

    path: str
    fault: Fault
    times: int = 1 << 30


@dataclass
class Front:
    """Faults and demands may be changed while it runs."""

    registry: Registry
    host: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)  # (path, Range header)
    given: set[str] = field(default_factory=set)  # Authorization headers
    rules: list[Rule] = field(default_factory=list)
    demand: str = ""  # basic, bearer, or nothing
    stalled: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def blobs(self) -> list[tuple[str, str]]:
        return [(path, wanted) for path, wanted in self.asked if "/blobs/" in path]

    def fault(self, path: str, answer: Answer) -> Answer:
        for rule in self.rules:
            if rule.path in path and rule.times > 0:
                rule.times -= 1
                return rule.fault(answer)
        return answer

    def challenge(self, given: str) -> str:
        """What a request without the right Authorization gets to hear; empty for one that has it."""
        login = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.demand == "basic" and given != login:
            return 'Basic realm="tests"'
        if self.demand == "bearer" and given != f"Bearer {TOKEN}":
            return f'Bearer realm="http://{self.host}/token",service="tests",scope="repository:x:pull"'
        return ""

    def refreshed(self, form: dict[str, list[str]]) -> Answer:
        """The token for an identity token (distribution's token authentication, OAuth2)."""
        if form.get("grant_type") != ["refresh_token"] or form.get("refresh_token") != [IDENTITY]:
            return Answer(401, {}, b"{}")
        return Answer(200, {"Content-Type": "application/json"}, json.dumps({"access_token": TOKEN}).encode())

    def token(self, given: str) -> Answer:
        login = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if given != login:
            return Answer(401, {}, b"{}")
        return Answer(200, {"Content-Type": "application/json"}, json.dumps({"token": TOKEN}).encode())


def status(code: int, **headers: str) -> Fault:
    """Answer with a status; `Retry_After="1"` is header Retry-After."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return lambda _: Answer(code, named, b'{"errors":[]}')


def reset(after: int) -> Fault:
    return lambda answer: _with(answer, cut=after)


def stall(after: int) -> Fault:
    return lambda answer: _with(answer, stall=after)


def truncated(by: int) -> Fault:
    return lambda answer: _with(answer, body=answer.body[:-by])


def flipped(answer: Answer) -> Answer:
    """One bit of the body is another."""
    return _with(answer, body=answer.body[:-1] + bytes([answer.body[-1] ^ 1]))


def longer(answer: Answer) -> Answer:
    return _with(answer, body=answer.body + b"\0" * 512)


def replaced(body: bytes) -> Fault:
    return lambda answer: _with(answer, body=body)


def _with(answer: Answer, **changed: Any) -> Answer:
    made = Answer(answer.status, answer.headers, answer.body)
    for key, value in changed.items():
        setattr(made, key, value)
    return made


def _handler(front: Front) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: a test's output is its failure."""

        def do_GET(self) -> None:
            front.asked.append((self.path, self.headers.get("Range", "")))
            given = self.headers.get("Authorization", "")
            front.given.add(given)
            if self.path.startswith("/token"):
                self._send(front.token(given))
            elif challenge := front.challenge(given):
                self._send(Answer(401, {"WWW-Authenticate": challenge}, b"{}"))
            else:
                self._send(front.fault(self.path, self._true()))

        def do_POST(self) -> None:
            front.asked.append((self.path, ""))
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._send(front.refreshed(urllib.parse.parse_qs(body)))

        def _true(self) -> Answer:
            connection = http.client.HTTPConnection(front.registry.host, timeout=30)
            kept = {key: value for key, value in self.headers.items() if key in ("Accept", "Range")}
            connection.request("GET", self.path, headers=kept)
            got = connection.getresponse()
            headers = {key: value for key, value in got.getheaders() if key in ("Content-Type", "Content-Range")}
            answer = Answer(got.status, headers, got.read())
            connection.close()
            return answer

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for key, value in answer.headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if answer.cut >= 0:
                self.wfile.write(answer.body[: answer.cut])
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
            elif answer.stall >= 0:
                self.wfile.write(answer.body[: answer.stall])
                front.stalled.set()
                front.released.wait(60)
                self.close_connection = True
            else:
                self.wfile.write(answer.body)

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is what these tests are about."""


@contextmanager
def front(registry: Registry) -> Iterator[Front]:
    """A front that serves while inside."""
    one = Front(registry)
    server = _Server(("127.0.0.1", 0), _handler(one))
    one.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield one
    finally:
        one.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
