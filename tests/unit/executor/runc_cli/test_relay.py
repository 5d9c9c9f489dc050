import os
import socket
from contextlib import ExitStack

import pytest
from cribus.executor.runc_cli import forks, relay


def test_a_console_of_our_own() -> None:
    with ExitStack() as stack:
        console = relay.Console(stack)
        forks.hand_over(console.path, 0)
        master = console.master()
        assert os.path.sameopenfile(master, 0)
        os.close(master)
    assert not os.path.exists(console.path)


def test_bytes_both_ways(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    master, slave = os.openpty()
    given, theirs = socket.socketpair()
    saved = os.dup(0)
    os.dup2(given.fileno(), 0)
    try:
        theirs.send(b"words\n")
        pid = os.fork()
        if pid == 0:
            os.setsid()
            os.write(slave, b"got " + os.read(slave, 99))
            os._exit(4)
        os.close(slave)
        assert relay.wait(pid, master) == 4
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        given.close()
        theirs.close()
    assert "got words" in capfd.readouterr().out
