import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
from cribus.errors import Aborted, Unavailable
from cribus.executor.node import Node
from cribus.executor.shims import Shim
from cribus.linux import fds as descriptors


def with_shim(node: Node, answers: list[list[int]], ask: Callable[[Shim], Any]) -> tuple[Any, list[dict[str, Any]]]:
    """What `ask` gives with a shim that answers with these descriptors; and what the shim was asked."""
    heard: list[dict[str, Any]] = []
    Path(node.pod("p")).mkdir(parents=True)
    directory = os.open(node.pod("p"), os.O_PATH)

    def serve(listener: socket.socket) -> None:
        with listener.accept()[0] as client:
            for answer in answers:
                data, fds = descriptors.recv(client)
                heard.append({**msgpack.unpackb(data), "fds": len(fds)})
                with contextlib.suppress(BrokenPipeError):  # news are not waited for
                    descriptors.send(client, data, answer)
                for fd in fds:
                    os.close(fd)

    with descriptors.listen_at(directory, "shim.sock") as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        shim = Shim(node, "p", "e")
        try:
            return ask(shim), heard
        finally:
            shim.close()
            thread.join()
            os.close(directory)


def test_streams(node: Node) -> None:
    found, heard = with_shim(node, [[0, 1]], lambda shim: asyncio.run(shim.descriptors(2)))
    for fd in found:
        os.close(fd)
    assert (len(found), heard) == (2, [{"exec": "e", "fds": 0}])


def test_a_shim_that_does_not_know_it(node: Node) -> None:
    with pytest.raises(Aborted, match="does not know exec e"):
        with_shim(node, [[0]], lambda shim: asyncio.run(shim.descriptors(4)))


def test_what_is_told(node: Node) -> None:
    assert with_shim(node, [[]], lambda shim: shim.forked(5, 0))[1] == [{"exec": "e", "pid": 5, "fds": 1}]


def test_a_shim_that_died(node: Node) -> None:
    def ask(shim: Shim) -> None:
        shim.forked(5, 0)
        asyncio.run(shim.descriptors(2))

    with pytest.raises(Unavailable):
        with_shim(node, [], ask)
    with pytest.raises(Unavailable, match="shim of pod q"):
        Shim(node, "q", "e")
