import asyncio
import os
import socket
import threading
from pathlib import Path

import pytest
from cribus.errors import Aborted
from cribus.executor import keepers
from cribus.linux import fds


def test_alive_as_long_as_somebody_holds_it(tmp_path: Path) -> None:
    async def main() -> None:
        assert await keepers.gone(str(tmp_path), 0)
        held = keepers.claim(str(tmp_path))
        with pytest.raises(Aborted):
            keepers.claim(str(tmp_path))
        assert not await keepers.gone(str(tmp_path), 0.01)
        waiting = asyncio.create_task(keepers.gone(str(tmp_path), 5))
        await asyncio.sleep(0)
        os.close(held)
        assert await waiting
        os.close(keepers.claim(str(tmp_path)))

    asyncio.run(main())


def test_without_a_keeper(tmp_path: Path) -> None:
    assert asyncio.run(keepers.get(str(tmp_path))) == {}
    assert asyncio.run(keepers.get(str(tmp_path / "none"))) == {}
    asyncio.run(keepers.end(str(tmp_path), dead=True))
    assert not asyncio.run(keepers.put(str(tmp_path), "x", 0))


def test_get_and_end(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_PATH)

    def serve(listener: socket.socket) -> None:
        for answer, passed in ((b"pidfd\nsync\n", [0, 1]), (b"ok", [])):
            with listener.accept()[0] as client:
                fds.recv(client)
                fds.send(client, answer, passed)

    with fds.listen_at(directory, "keeper.sock") as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        found = asyncio.run(keepers.get(str(tmp_path)))
        assert list(found) == ["pidfd", "sync"]
        asyncio.run(keepers.end(str(tmp_path), dead=True))
        thread.join()
    for fd in (*found.values(), directory):
        os.close(fd)
