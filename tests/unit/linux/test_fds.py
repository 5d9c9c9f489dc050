import os
import resource
import socket
from pathlib import Path

import pytest
from cribus.linux import fds


def test_descriptors_travel_and_do_not_leak() -> None:
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    read, write = os.pipe()
    with one, two:
        fds.send(one, b"hello", [write])
        data, found = fds.recv(two)
        os.write(found[0], b"x")
        assert (data, os.read(read, 1)) == (b"hello", b"x")
        assert not os.get_inheritable(found[0])
        before = len(os.listdir("/proc/self/fd"))
        fds.send(one, b"two", [write, read])
        with pytest.raises(OSError, match="longer"):
            fds.recv(two, maxfds=1)
        assert len(os.listdir("/proc/self/fd")) == before
    for fd in (read, write, *found):
        os.close(fd)


def test_sockets_by_directory_have_no_long_paths(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    directory = os.open(deep, os.O_PATH)
    for _ in range(2):  # one that was left behind is replaced
        with (
            fds.listen_at(directory, "s.sock") as listener,
            fds.connect_at(directory, "s.sock", timeout=1) as client,
            listener.accept()[0] as served,
        ):
            fds.send(client, b"ping")
            assert fds.recv(served) == (b"ping", [])
    os.close(directory)


def test_tee_leaves_and_splice_takes() -> None:
    first, second = os.pipe(), os.pipe()
    os.write(first[1], b"content")
    assert fds.tee(first[0], second[1], 100) == 7
    assert os.read(second[0], 100) == b"content"
    assert fds.splice(first[0], second[1], 100) == 7
    with pytest.raises(BlockingIOError):
        fds.splice(first[0], second[1], 100)
    assert fds.pipe_size(first[0], 1 << 18) == fds.pipe_size(first[1]) == 1 << 18
    for fd in (*first, *second):
        os.close(fd)


def test_close_all_but() -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        fds.close_all_but([write, 2])
        left = sorted(int(name) for name in os.listdir("/proc/self/fd"))
        os.write(write, repr(left[-2:] == [2, write] or left == [0, 2, write]).encode())
        os._exit(0)
    assert os.read(read, 9) == b"True"
    os.waitpid(pid, 0)
    os.close(read)
    os.close(write)


def test_connect_in(tmp_path: Path) -> None:
    assert fds.connect_in(str(tmp_path / "none"), "door.sock") is None
    assert fds.connect_in(str(tmp_path), "door.sock") is None
    folder = os.open(tmp_path, os.O_RDONLY)
    listener = fds.listen_at(folder, "door.sock")
    os.close(folder)
    client = fds.connect_in(str(tmp_path), "door.sock")
    assert client is not None
    client.close()
    listener.close()
    assert fds.connect_in(str(tmp_path), "door.sock") is None  # its file is left


def test_a_packet_whose_descriptors_find_no_room_is_known_by_what_it_says() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        fds.send(ours, b"for you", [0, 0])
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            with pytest.raises(fds.ScarceError, match="Too many open files") as refused:
                fds.recv(theirs)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert refused.value.data == b"for you"
