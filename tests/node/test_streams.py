"""Much through one stream, many streams at once, and readers that stall: by crictl, on a real node.

CRIBUS_STREAM_MIB says how much; the default is for a run that shall not take long.
"""

import concurrent.futures
import hashlib
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.certificate import certificate_in
from tests.cri import Cri
from tests.harness import PYTHON, Node, free_port, run, until
from tests.harness import node as harness_node

MIB = int(os.environ.get("CRIBUS_STREAM_MIB", "64"))
both = pytest.mark.parametrize("transport", ["spdy", "websocket"])
_MOST = 24 << 10  # KiB by which a process may grow while any amount passes through it


def memory(node: Node) -> dict[str, int]:
    """KiB of resident memory of every process of the node, shared files that live in memory included."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace") + (folder / "environ").read_text()
            status = (folder / "status").read_text()
        except (OSError, UnicodeDecodeError):
            continue
        if node.tag in words and "pytest" not in words and "crictl" not in words:
            rss = re.search(r"VmRSS:\s*(\d+)", status)
            name = re.search(r"Name:\s*(.*)", status)
            if rss and name:
                found[f"{name[1]}-{folder.name}"] = int(rss[1])
    return found


def _feed(process: "subprocess.Popen[bytes]", block: bytes) -> None:
    assert process.stdin
    for _ in range(MIB):
        process.stdin.write(block)
    process.stdin.close()


@both
def test_as_much_as_one_likes_both_ways_in_flat_memory(clean: Node, transport: str) -> None:
    pod = clean.pod("bulk")
    container = clean.container(pod, "bulk", "sleep", "1000")
    block = os.urandom(1 << 20)
    clean.crictl("exec", "-s", container, "true")
    before = memory(clean)
    process = subprocess.Popen(
        clean.argv("exec", "-i", "-r", transport, container, "cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    feeder = threading.Thread(target=_feed, args=(process, block))
    began = time.monotonic()
    feeder.start()
    assert process.stdout
    got, peak = hashlib.sha256(), dict(before)
    left = MIB << 20
    while left:
        piece = process.stdout.read(1 << 20)
        assert piece, f"{left} bytes are missing"
        got.update(piece)
        left -= len(piece)
        if left % (8 << 20) == 0:
            for name, size in memory(clean).items():
                peak[name] = max(size, peak.get(name, 0))
    assert process.stdout.read() == b""
    process.stdout.close()
    assert process.wait(20) == 0
    feeder.join()
    print(f"{MIB / (time.monotonic() - began):.0f} MiB/s each way")
    want = hashlib.sha256()
    for _ in range(MIB):
        want.update(block)
    assert got.digest() == want.digest()
    grown = {name: peak[name] - size for name, size in before.items() if peak[name] - size > _MOST}
    assert grown == {}
    clean.crictl("rmp", "-f", pod)


def test_a_reader_that_stalls_harms_only_itself(clean: Node) -> None:
    pod = clean.pod("stalled")
    container = clean.container(pod, "stalled", "sleep", "1000")
    command = clean.argv("exec", "-i", container, "sh", "-c", "while :; do echo much; done")
    stalled = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert stalled.stdout
    assert stalled.stdout.read(100_000)
    settled = memory(clean)
    for k in range(20):
        assert clean.crictl("exec", "-s", container, "echo", str(k)) == str(k)
        assert str(k) in clean.crictl("exec", container, "echo", str(k))
    grown = {name: size for name, size in memory(clean).items() if size - settled.get(name, size) > _MOST}
    assert grown == {}
    stalled.kill()
    stalled.communicate()
    until(lambda: "much" not in clean.crictl("exec", "-s", container, "ps"), 30, "its process has ended")
    clean.crictl("rmp", "-f", pod)


def test_only_a_pod_that_is_ready_is_reached(cri: Cri) -> None:
    pod = cri.pod(linux={"security_context": {"namespace_options": {"network": "NODE"}}})
    assert cri.call("PortForward", pod_sandbox_id=pod.id, port=[80]).url
    assert cri.refused("PortForward", pod_sandbox_id=pod.created("true"), port=[80])[0] == "NOT_FOUND"
    cri.call("StopPodSandbox", pod_sandbox_id=pod.id)  # it had the host's network
    assert cri.refused("PortForward", pod_sandbox_id=pod.id, port=[80])[0] == "FAILED_PRECONDITION"


_ECHO = """
import asyncio
async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 7777, backlog=200)
    print("up", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


@contextmanager
def _served(node: Node, pod: str, program: str, *how: str) -> Iterator[int]:
    """`program` listens in the pod at port 7777; crictl forwards the port that is yielded there."""
    container = node.container(pod, "server", "sleep", "1000")
    inside = f"--net=/proc/{node.json('inspect', container)['info']['pid']}/ns/net"
    port = free_port()
    there = subprocess.Popen(["nsenter", inside, PYTHON, "-c", program], stdout=subprocess.PIPE)
    here = subprocess.Popen(node.argv("port-forward", *how, pod, f"{port}:7777"), stdout=subprocess.PIPE)
    try:
        for one, word in ((there, b"up"), (here, b"Forwarding")):
            assert one.stdout
            assert word in one.stdout.readline()
        yield port
    finally:
        for one in (there, here):
            one.kill()
            one.communicate()


@both
def test_a_hundred_forwarded_connections_at_once(clean: Node, transport: str) -> None:
    pod = clean.pod("forward")
    with _served(clean, pod, _ECHO, "-r", transport) as port:
        together = threading.Barrier(100, timeout=60)

        def talk(k: int) -> None:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as one:
                text = b"%d " % k * 20_000
                together.wait()
                sender = threading.Thread(target=one.sendall, args=(text,))
                sender.start()
                got = b""
                while len(got) < len(text):
                    piece = one.recv(65536)
                    assert piece, f"connection {k} ended after {len(got)} of {len(text)}"
                    got += piece
                sender.join()
                assert got == text

        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            list(pool.map(talk, range(100)))
    clean.crictl("rmp", "-f", pod)


_DIGEST = """
import hashlib, socket
server = socket.create_server(("127.0.0.1", 7777))
print("up", flush=True)
while True:
    client = server.accept()[0]
    seen = hashlib.sha256()
    while data := client.recv(65536):
        seen.update(data)
    client.sendall(seen.digest() * 100_000)
    client.close()
"""


@both
def test_who_has_said_all_is_answered_all(clean: Node, transport: str) -> None:
    pod = clean.pod("halves")
    text = os.urandom(3 << 20)
    with _served(clean, pod, _DIGEST, "-r", transport) as port:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as one:
                one.sendall(text)
                one.shutdown(socket.SHUT_WR)  # the server answers what ends, and only then
                got = b""
                while piece := one.recv(65536):
                    got += piece
            assert got == hashlib.sha256(text).digest() * 100_000
    clean.crictl("rmp", "-f", pod)


def test_an_attached_reader_that_stalls_slows_nobody_and_misses_nothing(clean: Node) -> None:
    count = 300_000  # 2 MB: more than every pipe and window on the way holds
    pod = clean.pod("watched")
    flood = f"i=0; while [ $i -lt {count} ]; do i=$((i+1)); echo $i; done"
    script = f"read x; echo $x; read x; echo $x; read x; {flood}; sleep 1000"
    container = clean.container(pod, "watched", "sh", "-c", script, stdin=True)
    with _attached(clean, container, b"first\n") as stalled, _attached(clean, container, b"second\n") as reading:
        assert stalled.stdout
        assert reading.stdout
        _say(reading, b"go\n")
        numbers = [b"%d\n" % number for number in range(1, count + 1)]
        assert [reading.stdout.readline() for _ in numbers] == numbers
        log = Path(clean.status(container)["logPath"])
        until(lambda: log.read_bytes().endswith(b" stdout F %d\n" % count), 20, "all of it is logged")
        assert [stalled.stdout.readline() for _ in range(count + 1)] == [b"second\n", *numbers]
    clean.crictl("rmp", "-f", pod)


@contextmanager
def _attached(node: Node, container: str, word: bytes, *how: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A client, once the container has answered its word."""
    with subprocess.Popen(
        node.argv("attach", "-i", *how, container), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as one:
        try:
            _say(one, word)
            assert one.stdout
            assert one.stdout.readline() == word
            yield one
        finally:
            one.kill()


def _say(process: "subprocess.Popen[bytes]", word: bytes) -> None:
    assert process.stdin
    process.stdin.write(word)
    process.stdin.flush()


@pytest.fixture(scope="module")
def over_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, list[str]]]:
    """A node that has a certificate, and what crictl needs to trust it."""
    base = tmp_path_factory.mktemp("tls")
    certificate, key = certificate_in(base)
    settings = f'[gateway]\nstreaming_certificate = "{certificate}"\nstreaming_key = "{key}"\n'
    with harness_node(base, settings) as one:
        # crictl wants a certificate of its own too; nobody asks for it
        yield one, ["--tls-ca", str(certificate), "--tls-cert", str(certificate), "--tls-key", str(key)]


@both
def test_over_tls(over_tls: tuple[Node, list[str]], transport: str) -> None:
    node, trusting = over_tls
    pod = node.pod(f"tls-{transport}")
    container = node.container(pod, f"tls-{transport}", "sh", "-c", "read x; echo $x; sleep 1000", stdin=True)
    how = [*trusting, "-r", transport]
    done = run(*node.argv("exec", *how, container, "sh", "-c", "echo over; exit 7"))
    assert ("over" in done.stdout, "exit code 7" in done.stderr) == (True, True), done
    with _attached(node, container, b"typed\n", *how):
        pass
    with _served(node, pod, _ECHO, *how) as port, socket.create_connection(("127.0.0.1", port), timeout=30) as one:
        one.sendall(b"there and back")
        assert one.recv(100) == b"there and back"
    node.crictl("rmp", "-f", pod)


def test_whoever_speaks_no_tls_hears_nothing(over_tls: tuple[Node, list[str]]) -> None:
    node, _ = over_tls
    pod = node.pod("plain")
    cri = Cri(node)
    url = cri.call("PortForward", pod_sandbox_id=pod, port=[80]).url
    cri.close()
    address = urlsplit(url)
    assert address.scheme == "https"
    with socket.create_connection((address.hostname, address.port), timeout=30) as one:
        one.sendall(f"GET {address.path} HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n".encode())
        assert b"HTTP" not in one.recv(1000)
    node.crictl("rmp", "-f", pod)
