import errno
import socket
import struct

import pytest
from cribus.linux import netlink


def test_attributes_are_read_as_they_are_written() -> None:
    data = netlink.text(3, "abc") + netlink.u32(4, 7) + netlink.nested(18, netlink.u32(1, 2))
    found = netlink.attributes(data)
    assert found[3] == b"abc\0"
    assert found[4] == b"\7\0\0\0"
    assert netlink.attributes(found[18]) == {1: b"\2\0\0\0"}
    assert len(data) % 4 == 0


def test_a_broken_attribute_ends_the_list() -> None:
    assert netlink.attributes(netlink.u32(1, 1) + b"\0\0\0\0") == {1: b"\1\0\0\0"}


def test_the_first_failure_of_a_batch_is_raised() -> None:
    missing = netlink.message(16, 0, bytes(16) + netlink.text(3, "crbnone"))
    with netlink.Socket(socket.NETLINK_ROUTE) as route, pytest.raises(OSError, match="netlink") as failed:
        route.send(missing, missing)
    assert failed.value.errno in (errno.ENODEV, errno.EPERM)


def test_the_socket_is_usable_after_a_failure() -> None:
    with netlink.Socket(socket.NETLINK_ROUTE) as route:
        request = netlink.message(18, 0, bytes(16) + netlink.text(3, "crbnone"))
        with pytest.raises(OSError, match="netlink"):
            route.ask(request)
        assert route.ask(netlink.message(18, netlink.NLM_F_DUMP, bytes(16)))


def kernel(*rounds: tuple[int, tuple[int, ...]]) -> tuple[netlink.Socket, socket.socket]:
    """A socket whose kernel answers each dump with one datagram: these flags, a message of each number, the end."""
    route = netlink.Socket(socket.NETLINK_ROUTE)
    route.close()
    route._socket, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for number, (flags, bodies) in enumerate(rounds, 1):
        parts = [struct.pack("=IHHIII", 20, 16, flags, number, 0, body) for body in bodies]
        far.send(b"".join(parts) + struct.pack("=IHHIII", 20, 3, flags, number, 0, 0))
    return route, far


def test_a_dump_that_was_interrupted_is_made_anew() -> None:
    """NLM_F_DUMP_INTR: what was listed changed meanwhile, so that something may be missing."""
    route, far = kernel((0x12, (1,)), (0x12, (1, 3)), (2, (1, 2, 3)))
    with route, far:
        dump = netlink.message(18, netlink.NLM_F_DUMP, bytes(16))
        assert route.ask(dump) == [struct.pack("=I", one) for one in (1, 2, 3)]
        assert len([far.recv(64) for _ in range(3)]) == 3


def test_a_dump_that_is_always_interrupted_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    route, far = kernel((0x12, (1,)))
    monkeypatch.setattr(netlink, "TIMEOUT", -1)
    with route, far, pytest.raises(OSError, match="changed all the time"):
        route.ask(netlink.message(18, netlink.NLM_F_DUMP, bytes(16)))
