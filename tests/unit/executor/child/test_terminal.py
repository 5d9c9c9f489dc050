import os
import socket
import stat
from pathlib import Path

import pytest
from cribus.executor.child import terminal


def given(path: str) -> int:
    """What a container with this file as its ptmx gets: a master, whose other side is tested; returns the device."""
    host = terminal.Host()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(terminal, "PTMX", path)
        master = host.master()
    slave = terminal.pair(master, [33, 101])
    try:
        assert os.get_terminal_size(slave) == (101, 33)
        os.write(slave, b"said\n")
        assert os.read(master, 100) == b"said\r\n"
        return os.fstat(slave).st_dev
    finally:
        os.close(slave)
        os.close(master)


def test_the_devpts_of_the_mount_namespace_is_taken() -> None:
    assert given("/dev/pts/ptmx") == os.stat("/dev/pts").st_dev


def test_a_container_without_one_gets_the_hosts(tmp_path: Path) -> None:
    assert given(str(tmp_path / "none")) == os.stat("/dev/pts").st_dev


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFREG, stat.S_IFCHR])
def test_what_is_none_is_not_opened(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "ptmx"
    os.mknod(path, 0o666 | kind, os.makedev(5, 2) if kind == stat.S_IFCHR else 0)
    given(str(path))
    assert os.stat(path).st_atime_ns == os.stat(path).st_mtime_ns


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "ptmx").symlink_to("/dev/null")
    given(str(tmp_path / "ptmx"))


def test_handing_over() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    read, write = os.pipe()
    terminal.hand_over(theirs.detach(), write)
    with ours:
        said, fds, _, _ = socket.recv_fds(ours, 100, 1)
        assert said == b"console"
        os.write(fds[0], b"x")
        assert os.read(read, 1) == b"x"
        assert ours.recv(1) == b""
    os.close(fds[0])
    os.close(read)
