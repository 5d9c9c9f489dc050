"""Every version of the remote command protocol, over SPDY and WebSocket, spoken byte for byte to a real node.

crictl speaks the newest alone; here is a client that speaks each, as kubelets and kubectls of all ages do.
"""

import base64
import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from cribus.gateway.streaming import websocket as w

from tests.cri import Cri
from tests.unit.gateway.streaming import peer as spdy
from tests.unit.gateway.streaming.masked import masked

STDIN = 3
LANES = {1: "error", STDIN: "stdin", 5: "stdout", 7: "stderr"}  # streams of SPDY, odd as a client's are
CHANNELS = ["stdin", "stdout", "stderr", "error"]  # of WebSocket, by a message's first byte
SAID = bytes(range(256)) * 4000  # a megabyte: more than any window


class Line:
    """A connection on which a stream was agreed on."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""

    def ask(self, path: str, upgrade: str, headers: list[tuple[str, str]]) -> dict[str, str]:
        """The upgrade's answer: its headers by lower-case name."""
        lines = [f"GET {path} HTTP/1.1", "Host: x", "Connection: Upgrade", f"Upgrade: {upgrade}"]
        lines += [f"{name}: {value}" for name, value in headers]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode())
        while b"\r\n\r\n" not in self._rest:
            self._rest += self._more()
        head, self._rest = self._rest.split(b"\r\n\r\n", 1)
        first, *more = head.decode().split("\r\n")
        assert first.split()[1] == "101", head
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in more)}

    def _more(self) -> bytes:
        piece = self._connection.recv(65536)
        assert piece, "the connection ended"
        return piece

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    @contextmanager
    def sending(self, frames: list[bytes]) -> Iterator[None]:
        """While inside, somebody sends these, so that nobody waits for each other."""
        sender = threading.Thread(target=lambda: self.send(b"".join(frames)))
        sender.start()
        yield
        sender.join()

    def take(self, size: int) -> bytes:
        while len(self._rest) < size:
            self._rest += self._more()
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


@contextmanager
def line(url: str) -> Iterator[tuple[Line, str]]:
    """A connection to where a stream is offered, and its path."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port or 80), timeout=30) as connection:
        yield Line(connection), address.path


def _over_spdy(url: str, offered: list[str], said: bytes) -> tuple[str, dict[str, bytes]]:
    """(version, what each lane said) of a client that says so much, and then no more."""
    peer = spdy.Peer()
    heard, speaking = dict.fromkeys(LANES.values(), b""), set(LANES) - {STDIN}
    with line(url) as (ours, path):
        agreed = ours.ask(path, "SPDY/3.1", [("X-Stream-Protocol-Version", one) for one in offered])
        for number, name in LANES.items():
            ours.send(peer.open(number, {"streamType": name}))
        with ours.sending([spdy.data(STDIN, piece) for piece in _pieces(said)] + [spdy.data(STDIN, b"", fin=True)]):
            while speaking:
                word, rest = struct.unpack(">II", ours.take(8))
                payload = ours.take(rest & 0xFFFFFF)
                if not word >> 31:
                    heard[LANES[word]] += payload
                    speaking -= {word} if rest >> 24 else set()
    return agreed.get("x-stream-protocol-version", ""), heard


def _over_websocket(url: str, offered: list[str], said: bytes) -> tuple[str, dict[str, bytes]]:
    """The same; with v5's signal that standard input has ended, and in base64 where that is offered."""
    heard = dict.fromkeys(CHANNELS, b"")
    text = "base64" in offered[-1]
    with line(url) as (ours, path):
        asked = [("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "MDEyMzQ1Njc4OWFiY2RlZg==")]
        agreed = ours.ask(path, "websocket", [*asked, ("Sec-WebSocket-Protocol", ", ".join(offered))])
        frames = [
            masked(w.TEXT, b"0" + base64.b64encode(piece)) if text else masked(w.BINARY, b"\0" + piece)
            for piece in _pieces(said)
        ]
        with ours.sending(frames + ([masked(w.BINARY, b"\xff\0")] if offered[-1].startswith("v5") else [])):
            while True:
                first, size = ours.take(2)
                longer = {126: 2, 127: 8}.get(size, 0)
                payload = ours.take(int.from_bytes(ours.take(longer)) if longer else size)
                if first & 0xF == w.CLOSE:
                    break
                assert first & 0xF == (w.TEXT if text else w.BINARY)
                lane = CHANNELS[payload[0] - ord("0") * text]
                heard[lane] += base64.b64decode(payload[1:]) if text else payload[1:]
    return agreed["sec-websocket-protocol"], heard


def _pieces(said: bytes) -> list[bytes]:
    return [said[at : at + 32768] for at in range(0, len(said), 32768)]


def _opened(cri: Cri, box: str, *command: str) -> str:
    return str(cri.call("Exec", container_id=box, cmd=list(command), stdin=True, stdout=True, stderr=True).url)


@pytest.mark.parametrize(
    ("offered", "spoken"),
    [
        ([], 1),  # before there was a negotiation
        (["channel.k8s.io"], 1),
        (["v2.channel.k8s.io", "channel.k8s.io"], 2),
        (["v3.channel.k8s.io", "v2.channel.k8s.io"], 3),
        (["v9.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io"], 4),
    ],
)
def test_spdy(cri: Cri, offered: list[str], spoken: int) -> None:
    box = cri.pod().running()
    agreed, heard = _over_spdy(_opened(cri, box, "sh", "-c", "cat; echo over >&2; exit 7"), offered, SAID)
    assert agreed == ("" if not offered else "channel.k8s.io" if spoken == 1 else f"v{spoken}.channel.k8s.io")
    assert (heard["stdout"] == SAID, heard["stderr"]) == (True, b"over\n")
    assert "exit code 7" in (_status(heard["error"])["message"] if spoken > 3 else heard["error"].decode())
    _, heard = _over_spdy(_opened(cri, box, "cat"), offered, b"")
    assert heard["error"] == b"" or (spoken > 3 and _status(heard["error"])["status"] == "Success")


def _status(word: bytes) -> dict[str, str]:
    found: dict[str, str] = json.loads(word)
    return found


@pytest.mark.parametrize(
    ("protocol", "spoken"),
    [
        ("v5.channel.k8s.io", 5),
        ("v4.channel.k8s.io", 4),
        ("v4.base64.channel.k8s.io", 4),
        ("channel.k8s.io", 1),
        ("base64.channel.k8s.io", 1),
    ],
)
def test_websocket(cri: Cri, protocol: str, spoken: int) -> None:
    """Before v5 nobody can say that standard input has ended: what reads it must know when it has enough."""
    box = cri.pod().running()
    reads = "cat" if spoken == 5 else f"head -c {len(SAID)}"
    url = _opened(cri, box, "sh", "-c", f"{reads}; echo over >&2; exit 7")
    agreed, heard = _over_websocket(url, ["v9.channel.k8s.io", protocol], SAID)
    assert agreed == protocol
    assert (heard["stdout"] == SAID, heard["stderr"]) == (True, b"over\n")
    if spoken == 1:
        assert "exit code 7" in heard["error"].decode()
        return
    status = json.loads(heard["error"])
    assert (status["reason"], status["details"]["causes"]) == (
        "NonZeroExitCode",
        [{"reason": "ExitCode", "message": "7"}],
    )
