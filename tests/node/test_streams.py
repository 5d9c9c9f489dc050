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
from pathlib import Path

import pytest

from tests.cri import Cri
from tests.harness import PYTHON, Node, until

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


@both
def test_a_hundred_forwarded_connections_at_once(clean: Node, transport: str) -> None:
    pod = clean.pod("forward")
    container = clean.container(pod, "forward", "sleep", "1000")
    inside = f"--net=/proc/{clean.json('inspect', container)['info']['pid']}/ns/net"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    echo = subprocess.Popen(["nsenter", inside, PYTHON, "-c", _ECHO], stdout=subprocess.PIPE)
    process = subprocess.Popen(clean.argv("port-forward", "-r", transport, pod, f"{port}:7777"), stdout=subprocess.PIPE)
    try:
        for one, word in ((echo, b"up"), (process, b"Forwarding")):
            assert one.stdout
            assert word in one.stdout.readline()
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
    finally:
        for one in (echo, process):
            one.kill()
            one.communicate()
    clean.crictl("rmp", "-f", pod)
