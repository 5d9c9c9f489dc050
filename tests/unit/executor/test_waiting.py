import asyncio
import os
import signal
import socket
import subprocess

import pytest
from cribus import hung
from cribus.executor import waiting
from cribus.forkserver import Spawned
from cribus.linux import fds


def test_several_wait_for_one_descriptor() -> None:
    async def main() -> None:
        read, write = os.pipe()
        assert not await waiting.readable(read, 0.01)
        both = asyncio.gather(waiting.readable(read, 5), waiting.readable(read, 5))
        await asyncio.sleep(0)
        os.write(write, b"x")
        assert all(await both)
        os.close(read)
        os.close(write)

    asyncio.run(main())


def test_text_until_a_word_or_the_end() -> None:
    async def main() -> None:
        read, write = os.pipe()
        os.write(write, b"one\ntw")
        assert await waiting.text(read, 5) == "one\ntw"
        with pytest.raises(TimeoutError):
            await waiting.text(read, 0.01)
        os.close(write)
        assert await waiting.text(read, 5) == ""
        os.close(read)

    asyncio.run(main())


def test_a_packet_or_a_timeout() -> None:
    async def main() -> None:
        one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with one, two:
            with pytest.raises(TimeoutError):
                await waiting.receive(two, 0, 0.01)
            fds.send(one, b"x")
            assert await waiting.receive(two, 0, 1) == (b"x", [])

    asyncio.run(main())


def test_a_child_that_is_stopped_is_killed_while_somebody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hung, "LOOK", 0.01)

    async def main(pid: int, pidfd: int) -> None:
        with waiting.overseen(Spawned(pid, pidfd)):
            assert await waiting.readable(pidfd, 10)

    with subprocess.Popen(["sleep", "1000"]) as process:
        process.send_signal(signal.SIGSTOP)
        pidfd = os.pidfd_open(process.pid)
        asyncio.run(main(process.pid, pidfd))
        os.close(pidfd)
