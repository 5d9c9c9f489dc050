import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from cribus.errors import DeadlineExceeded, InvalidArgument, NotFound
from cribus.executor.runc_cli import forks
from cribus.linux import fds as descriptors


def main(request: dict[str, Any], fds: list[int]) -> int:
    os.write(fds[0], request["says"])
    return int(request["code"])


def test_a_child_and_what_it_says() -> None:
    read, write = os.pipe()
    pid = forks.fork(main, ({"says": b"ready \n", "code": 3}, [write]), (0, ""))
    assert "ready" in forks.said(read, b"ready")
    assert forks.wait(pid) == 3
    with pytest.raises(DeadlineExceeded):
        forks.said(read, b"ready", 0.01)
    os.write(write, b"error NOT_FOUND no such thing\n")
    os.close(write)
    with pytest.raises(NotFound, match="no such thing"):
        forks.said(read, b"ready\n")
    os.close(read)


def test_signals_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [signal.getsignal(number) for number in forks._FORWARDED]
    pid = os.posix_spawn("/bin/sleep", ["sleep", "100"], os.environ)
    waiting = os.waitpid

    def told(pid: int, options: int) -> tuple[int, int]:
        os.kill(os.getpid(), signal.SIGTERM)
        return waiting(pid, options)

    monkeypatch.setattr(os, "waitpid", told)
    assert forks.wait(pid) == 128 + signal.SIGTERM
    assert [signal.getsignal(number) for number in forks._FORWARDED] == before


def test_who_fails_to_wait_hears_signals_as_before() -> None:
    before = [signal.getsignal(number) for number in forks._FORWARDED]
    with pytest.raises(ChildProcessError):
        forks.wait(os.getppid())
    assert [signal.getsignal(number) for number in forks._FORWARDED] == before


def test_a_terminal_goes_from_hand_to_hand(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, socket.socket(socket.AF_UNIX) as listener:
        descriptors.send(theirs, b"console", [0])
        master = forks.master(ours)
        listener.bind(str(tmp_path / "console"))
        listener.listen(1)
        forks.hand_over(str(tmp_path / "console"), master)
        peer, _ = listener.accept()
        with peer:
            _, fds, _, _ = socket.recv_fds(peer, 64, 1)
        assert os.path.sameopenfile(fds[0], master)
        theirs.close()
        assert forks.master(ours) == -1
    for fd in (*fds, master):
        os.close(fd)
    with pytest.raises(InvalidArgument, match="console socket"):
        forks.hand_over(str(tmp_path / "none"), 0)


def test_the_pid(tmp_path: Path) -> None:
    forks.write_pid(str(tmp_path / "pid"), 17)
    forks.write_pid("", 17)
    assert (tmp_path / "pid").read_text() == "17"
