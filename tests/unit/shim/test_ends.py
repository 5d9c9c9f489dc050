import os
import socket

from cribus.shim import ends
from cribus.shim.ends import Kind


def test_pipes() -> None:
    ours, theirs = ends.made(Kind((1,), tty=False, stdin=True))
    assert set(ours) == {"exit", "stdin", "stdin-stage", "out-1", "out-2", "kept-1"}
    os.write(ours["stdin"], b"in")
    assert os.read(theirs[0], 9) == b"in"
    for channel in (1, 2):
        os.write(theirs[channel], b"out")
        assert os.read(ours[f"out-{channel}"], 9) == b"out"
    os.write(theirs[3], b"\0\0\0\0")
    assert os.read(ours["exit"], 9) == b"\0\0\0\0"
    for fd in (*ours.values(), *theirs):
        os.close(fd)


def test_without_input_the_process_reads_an_end() -> None:
    ours, theirs = ends.made(Kind(tty=False, stdin=False))
    assert os.read(theirs[0], 1) == b""
    assert not {"stdin", "stdin-stage"} & set(ours)
    for fd in (*ours.values(), *theirs):
        os.close(fd)


def test_a_terminal_comes_over_a_link() -> None:
    ours, theirs = ends.made(Kind((1,), tty=True, stdin=True))
    assert set(ours) == {"exit", "stdin-stage", "link", "stage-1", "kept-1"}
    with socket.socket(fileno=theirs[0]) as link:
        link.send(b"console")
    with socket.socket(fileno=ours.pop("link")) as link:
        assert link.recv(9) == b"console"
    for fd in (*ours.values(), *theirs[1:]):
        os.close(fd)
