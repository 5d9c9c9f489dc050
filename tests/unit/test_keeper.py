"""The keeper without a container: init is a function of this file's own module."""

import os
import select
import shutil
import signal
import socket
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from cribus import keeper, pulse
from cribus.linux import fds as descriptors
from cribus.linux import inotify, process
from cribus.pulse import Page


def init(request: dict[str, object], fds: list[int]) -> int:
    if request.get("console"):
        link = socket.socket(fileno=fds[-1])
        descriptors.send(link, b"console", [fds[0]])
    os.read(fds[0], 1)
    return 5


class Kept:
    """A keeper in a child of the test."""

    def __init__(self, directory: Path, link: bool = False, orphan: dict[str, str] | None = None) -> None:
        sys.modules["keeper_test_init"] = types.ModuleType("keeper_test_init")
        sys.modules["keeper_test_init"].main = make_orphan if orphan else init  # type: ignore[attr-defined]
        self.directory = os.open(directory, os.O_PATH)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.gate_read, self.gate = os.pipe()
        self.out, inner = os.pipe()
        request: dict[str, Any] = {
            "run": 0,
            "answer": 1,
            "hold": {"stdout": 2},
            "spare": [],
            "title": "keeper: test",
            "init": {
                "main": "keeper_test_init:main",
                "request": orphan if orphan else {"console": link},
                "orphan": orphan["pid"] if orphan else "",
                "fds": [3],
                "flags": 0,
                "pidns": -1,
                "link": link,
            },
        }
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.gate)
            os._exit(keeper.main(request, [self.directory, theirs.detach(), self.out, self.gate_read]))
        theirs.close()
        os.close(inner)
        with ours:
            data, fds = descriptors.recv(ours)
        if not fds:
            os.write(self.gate, b"x")
            os.waitpid(self.pid, 0)
            for fd in (self.directory, self.gate, self.gate_read, self.out):
                os.close(fd)
            raise AssertionError(data.decode())
        (self.pidfd,) = fds
        self.init = int(data)
        self.client = self.connect()

    def connect(self) -> socket.socket:
        return descriptors.connect_at(self.directory, "keeper.sock", timeout=5)

    def ask(self, request: bytes, fds: tuple[int, ...] = ()) -> tuple[bytes, list[int]]:
        descriptors.send(self.client, request, fds)
        return descriptors.recv(self.client)

    def go(self) -> None:
        os.write(self.gate, b"x")

    def close(self) -> None:
        self.client.close()
        for fd in (self.directory, self.gate, self.gate_read, self.out, self.pidfd):
            os.close(fd)


def test_gives_takes_and_ends(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    names, fds = kept.ask(b"get")
    assert names == b"stdout\npidfd\n"
    assert kept.ask(b"put page", (fds[0],)) == (b"ok", [])
    for fd in fds:
        os.close(fd)
    assert kept.ask(b"nonsense")[0].startswith(b"error")
    kept.client.close()
    kept.client = kept.connect()
    names, fds = kept.ask(b"get")
    assert names == b"stdout\npidfd\npage\n"
    for fd in fds:
        os.close(fd)
    assert kept.ask(b"end") == (b"ok", [])
    assert os.waitpid(kept.pid, os.WNOHANG) == (0, 0)
    kept.go()
    assert os.waitstatus_to_exitcode(os.waitpid(kept.pid, 0)[1]) == 0
    assert (tmp_path / "exit.json").read_text().startswith('{"code":5,"signal":0,"at":')
    kept.close()


@pytest.mark.parametrize("ending", [5, -9])
def test_whose_status_is_told_can_still_be_reaped(ending: int) -> None:
    """By another, where the keeper is killed in between."""
    pid = os.fork()
    if pid == 0:
        if ending < 0:
            os.kill(os.getpid(), -ending)
        os._exit(ending)
    told = keeper._status(pid)
    assert os.waitstatus_to_exitcode(told) == ending
    assert os.waitpid(pid, 0) == (pid, told)


@pytest.mark.parametrize("number", [15, 1, 2, 13])
def test_survives_signals(tmp_path: Path, number: int) -> None:
    kept = Kept(tmp_path)
    os.kill(kept.pid, number)
    fds = kept.ask(b"get")[1]
    assert fds
    for fd in fds:
        os.close(fd)
    process.pidfd_send_signal(kept.pidfd, 9)
    select.select([kept.pidfd], [], [], 5)
    kept.ask(b"end")
    os.waitpid(kept.pid, 0)
    assert '"code":137,"signal":9' in (tmp_path / "exit.json").read_text()
    kept.close()


def test_console_comes_from_init(tmp_path: Path) -> None:
    kept = Kept(tmp_path, link=True)
    names: list[bytes] = []
    for _ in range(200):
        data, fds = kept.ask(b"get")
        names = data.split()
        for fd in fds:
            os.close(fd)
        if b"console" in names:
            break
    assert b"console" in names
    kept.go()
    kept.ask(b"end")
    os.waitpid(kept.pid, 0)
    kept.close()


def make_orphan(request: dict[str, str], fds: list[int]) -> int:
    """In an outside runtime's place: leaves a grandchild and its pid."""
    pid = os.fork()
    if pid == 0:
        os.read(fds[0], 1)
        os._exit(6)
    Path(request["pid"]).write_text(str(pid if request["whose"] == "ours" else os.getppid()))
    return int(request["code"])


@pytest.mark.parametrize(("code", "whose"), [("0", "ours"), ("3", "ours"), ("0", "theirs")])
def test_what_an_outside_runtime_leaves(tmp_path: Path, code: str, whose: str) -> None:
    orphan = {"pid": str(tmp_path / "pid"), "code": code, "whose": whose}
    if (code, whose) != ("0", "ours"):
        text = "ended with 3" if code != "0" else "not the runtime's child"
        with pytest.raises(AssertionError, match=text):
            Kept(tmp_path, orphan=orphan)
        return
    kept = Kept(tmp_path, orphan=orphan)
    assert kept.init == int((tmp_path / "pid").read_text())
    kept.go()
    kept.ask(b"end")
    os.waitpid(kept.pid, 0)
    assert '"code":6' in (tmp_path / "exit.json").read_text()
    kept.close()


def listens_anew(kept: Kept, folder: Path) -> None:
    """Its directory is made again, and it is told so."""
    folder.mkdir()
    watch = inotify.init()
    inotify.add_watch(watch, str(folder), inotify.IN_MOVED_TO)
    os.kill(kept.pid, keeper.ANEW)
    while "keeper.sock" not in [name for _, _, name in inotify.read(watch)]:
        assert select.select([watch], [], [], 10)[0]
    os.close(watch)
    os.close(kept.directory)
    kept.directory = os.open(folder, os.O_PATH)
    kept.client.close()
    kept.client = kept.connect()


def test_listens_where_its_directory_was_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    kept = Kept(folder)
    kept.ask(b"nonsense")  # who answers has settled
    for _ in range(3):
        assert process.home(kept.pid) == str(folder)
        shutil.rmtree(folder)
        listens_anew(kept, folder)
        names, fds = kept.ask(b"get")
        assert names == b"stdout\npidfd\n"
        for fd in fds:
            os.close(fd)
    open_now = len(os.listdir(f"/proc/{kept.pid}/fd"))
    os.kill(kept.pid, keeper.ANEW)
    kept.ask(b"nonsense")
    assert len(os.listdir(f"/proc/{kept.pid}/fd")) == open_now
    kept.go()
    kept.ask(b"end")
    os.waitpid(kept.pid, 0)
    assert '"code":5' in (folder / "exit.json").read_text()
    kept.close()


def test_listens_anew_while_somebody_comes(tmp_path: Path) -> None:
    """Whoever comes just then may find the old socket, and come again; all others are heard."""
    folder = tmp_path / "c"
    folder.mkdir()
    kept = Kept(folder)
    shutil.rmtree(folder)
    listens_anew(kept, folder)  # since then its signals are looked at before its socket
    kept.ask(b"nonsense")
    os.kill(kept.pid, signal.SIGSTOP)
    os.waitpid(kept.pid, os.WUNTRACED)
    with kept.connect():
        os.kill(kept.pid, keeper.ANEW)
        os.kill(kept.pid, signal.SIGCONT)
        assert kept.ask(b"nonsense")[0].startswith(b"error")
    _gone(kept)


def test_an_exit_that_could_not_be_written_is_told_later(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    kept = Kept(folder)
    shutil.rmtree(folder)
    kept.go()
    assert select.select([kept.pidfd], [], [], 10)[0]
    kept.ask(b"nonsense")  # it has seen the exit by the answer, or sees it soon
    listens_anew(kept, folder)
    kept.ask(b"end")
    os.waitpid(kept.pid, 0)
    assert '"code":5' in (folder / "exit.json").read_text()
    kept.close()


def test_told_to_listen_where_nothing_is(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    kept = Kept(folder)
    shutil.rmtree(folder)
    os.kill(kept.pid, signal.SIGHUP)
    assert kept.ask(b"nonsense")[0].startswith(b"error")
    listens_anew(kept, folder)
    kept.go()
    kept.ask(b"end")
    os.waitpid(kept.pid, 0)
    kept.close()


def _gone(kept: Kept) -> None:
    """To its end, by somebody who is heard."""
    kept.client.close()
    kept.client = kept.connect()
    kept.ask(b"end")
    kept.go()
    os.waitpid(kept.pid, 0)
    kept.close()


def _names(sock: socket.socket) -> bytes:
    """What it holds."""
    descriptors.send(sock, b"get")
    names, fds = descriptors.recv(sock)
    for fd in fds:
        os.close(fd)
    return names


def test_whoever_has_a_successor_is_heard_no_longer(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    try:
        descriptors.send(kept.client, b"drop @shim 1")
        assert _names(kept.client)
        with kept.connect() as second:
            descriptors.send(second, b"drop @shim 2")
            assert _names(second)
            descriptors.send(kept.client, b"end")
            assert descriptors.recv(kept.client) == (b"", []), "the first is gone for it"
            assert b"stdout" in _names(second), "and has ended nothing"
        with kept.connect() as third:
            descriptors.send(third, b"drop @shim 1")
            assert descriptors.recv(third) == (b"", [])
        with kept.connect() as nobody:
            assert _names(nobody), "who says nothing of itself is heard"
    finally:
        _gone(kept)


def test_a_program_of_the_node_is_compared_with_the_nodes_page(tmp_path: Path) -> None:
    run = tmp_path / "containers" / "c"
    run.mkdir(parents=True)
    (tmp_path / "supervisor").mkdir()
    page = Page(str(tmp_path))
    page.ensure()
    now = page.begin("executor")
    kept = Kept(run)
    try:
        with kept.connect() as old:
            descriptors.send(old, b"drop @executor %d" % (now - 1))
            assert descriptors.recv(old) == (b"", []), "before anybody else had spoken"
        descriptors.send(kept.client, b"drop @executor %d" % now)
        assert _names(kept.client)
    finally:
        _gone(kept)


def test_introduced_by_generation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        keeper.introduce(ours)
        monkeypatch.setattr(pulse, "own", pulse.Own(Page(str(tmp_path)), "shim", 7))
        keeper.introduce(ours)
        assert descriptors.recv(theirs)[0] == b"drop @shim 7"
