import os
import socket
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest
from cribus.linux import fds as descriptors
from cribus.shim.door import Door

from tests.turning import Turning


class Waiting:
    def __init__(self, fds: list[int]) -> None:
        self.fds = fds
        self.pid = 0

    def outer(self) -> list[int]:
        return self.fds

    def forked(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        os.close(pidfd)


@pytest.fixture
def door(turning: Turning, tmp_path: Path) -> Iterator[Door]:
    one = Door(turning.loop, os.open(tmp_path, os.O_RDONLY), "pod")
    yield one
    one.close()


@pytest.fixture
def client(door: Door, tmp_path: Path) -> Iterator[socket.socket]:
    with descriptors.connect_at(os.open(tmp_path, os.O_RDONLY), "shim.sock", 5) as one:
        yield one


def heard(turning: Turning, client: socket.socket) -> tuple[dict[str, object], list[int]]:
    got: list[tuple[bytes, list[int]]] = []
    client.setblocking(False)

    def look() -> bool:
        try:
            got.append(descriptors.recv(client))
        except BlockingIOError:
            return False
        return True

    turning.until(look)
    return msgpack.unpackb(got[0][0]), got[0][1]


def test_who(turning: Turning, client: socket.socket) -> None:
    client.send(msgpack.packb({"who": 1}))
    assert heard(turning, client) == ({"pid": os.getpid(), "pod": "pod"}, [])


def test_an_exec_fetches_its_streams_and_brings_its_pidfd(turning: Turning, door: Door, client: socket.socket) -> None:
    read, write = os.pipe()
    door.execs["e"] = waiting = Waiting([write])
    client.send(msgpack.packb({"exec": "e"}))
    said, fds = heard(turning, client)
    assert said == {"exec": "e"}
    os.write(fds[0], b"x")
    assert os.read(read, 9) == b"x"
    descriptors.send(client, msgpack.packb({"exec": "e", "pid": 77}), [os.pidfd_open(os.getpid())])
    turning.until(lambda: waiting.pid == 77)


def test_an_exec_that_is_not_known_gets_nothing_and_its_process_ends(turning: Turning, client: socket.socket) -> None:
    client.send(msgpack.packb({"exec": "unknown"}))
    assert heard(turning, client)[1] == []
    pid = os.posix_spawnp("sleep", ["sleep", "1000"], os.environ)
    descriptors.send(client, msgpack.packb({"exec": "unknown", "pid": pid}), [os.pidfd_open(pid)])
    turning.until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid)


def test_a_client_that_goes(turning: Turning, client: socket.socket) -> None:
    client.close()
    turning.until(lambda: True)
