"""Connections into a network namespace of its own."""

import asyncio
import socket
import subprocess
from collections.abc import Iterator

import pytest
from cribus.errors import FailedPrecondition, Unavailable
from cribus.gateway.streaming import netns


@pytest.fixture
def namespace() -> Iterator[str]:
    """A network namespace with loopback up, kept by a process of its own."""
    script = "ip link set lo up && echo up && exec cat"
    keeper = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    with keeper:
        assert keeper.stdout.readline() == "up\n"
        yield f"/proc/{keeper.pid}/ns/net"
        keeper.stdin.close()


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_inside(namespace: str, family: socket.AddressFamily, host: str) -> None:
    async def run() -> None:
        with socket.socket(family) as reserved, netns._made(namespace, family) as listener:
            reserved.bind((host, 0))  # on the host nobody else may listen at this port
            port = reserved.getsockname()[1]
            listener.bind((host, port))
            listener.listen()
            with await netns.connect(namespace, port) as made:
                accepted, _ = listener.accept()
                with accepted:
                    accepted.sendall(b"hi")
                    assert await asyncio.get_running_loop().sock_recv(made, 10) == b"hi"
            with pytest.raises(Unavailable):
                await netns.connect("", port)  # the host has another loopback

    asyncio.run(run())


def test_nobody_listens(namespace: str) -> None:
    with pytest.raises(Unavailable, match="port 9"):
        asyncio.run(netns.connect(namespace, 9))


def test_a_pod_that_is_gone() -> None:
    with pytest.raises(FailedPrecondition, match="cannot be entered"):
        asyncio.run(netns.connect("/nowhere/net", 80))
