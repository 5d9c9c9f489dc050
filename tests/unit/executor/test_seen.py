"""An exit of which nobody has told yet, and a keeper that stands in, which has a pidfd."""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Iterator

import pytest
from cribus.executor import seen, state
from cribus.executor.node import Node
from cribus.keeper import SOCKET
from cribus.linux import fds as descriptors
from cribus.linux import namespaces, process


@contextlib.contextmanager
def keeper(node: Node, pidfd: int) -> Iterator[None]:
    """One that answers one request for what it holds."""
    folder = os.open(node.bundle("c"), os.O_RDONLY)
    listener = descriptors.listen_at(folder, SOCKET)

    def answer() -> None:
        client, _ = listener.accept()
        with client:
            descriptors.recv(client)
            descriptors.send(client, b"pidfd\n", [pidfd])

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
        thread.join(10)
        assert not thread.is_alive()
    finally:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as last:
            last.connect(f"/proc/self/fd/{folder}/{SOCKET}")
        listener.close()
        os.close(folder)


# A kernel before 6.15 forgets how reaped processes ended.
@pytest.mark.parametrize("reaped", [False, True][: 1 + process.remembers_exits()])
@pytest.mark.parametrize("every", [False, True], ids=["one", "every"])
def test_the_keeper_is_asked_for_its_pidfd(node: Node, reaped: bool, every: bool) -> None:
    pid, pidfd = namespaces.clone3()
    if pid == 0:
        os._exit(113)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    started = process.start_time(pid)
    if reaped:
        os.waitpid(pid, 0)
    state.save(node.bundle("c"), state.Record(container="c", ready=True, pid=pid, started=started))
    with keeper(node, pidfd):
        if every:
            [found] = asyncio.run(seen.every(node)).containers
        else:
            found = asyncio.run(seen.one(node, "c"))
    assert (found.status, found.exit_known, found.exit_code) == ("stopped", True, 113)
    if not reaped:
        os.waitpid(pid, 0)
    os.close(pidfd)


def test_without_a_keeper_it_is_not_known(node: Node) -> None:
    state.save(node.bundle("c"), state.Record(container="c", ready=True))
    assert not asyncio.run(seen.one(node, "c")).exit_known
    assert [one.container for one in asyncio.run(seen.every(node)).containers] == ["c"]


def test_a_pidfd_of_an_earlier_try_tells_nothing(node: Node) -> None:
    """While the keeper is asked the start is made again."""
    pid, pidfd = namespaces.clone3()
    if pid == 0:
        os._exit(113)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    bundle = node.bundle("c")
    state.save(bundle, state.Record(container="c", ready=True, pid=pid, started=1))

    async def main() -> None:
        asked = asyncio.create_task(seen.one(node, "c"))
        await asyncio.sleep(0)
        state.save(bundle, state.Record(container="c", ready=True, pid=pid + 1, started=2))
        assert not (await asked).exit_known

    with keeper(node, pidfd):
        asyncio.run(main())
    assert not os.path.exists(f"{bundle}/exit.json")
    os.waitpid(pid, 0)
    os.close(pidfd)
