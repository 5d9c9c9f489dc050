import errno
import socket

import pytest
from cribus.network import netlink


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
