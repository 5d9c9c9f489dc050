"""Interfaces, addresses, routes: the only module that speaks rtnetlink.

Nothing here waits for the kernel to delete a link unless told to (`delete`): that takes 30 ms and
more. A veth is made with its peer in the pod's namespace at once, never moved. Sources:
rtnetlink(7), include/uapi/linux/{if_link,rtnetlink,if_addr,neighbour}.h.
"""

import contextlib
import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from cribus.linux import netlink
from cribus.linux.netlink import attribute, message, nested, text, u32

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network

_NEWLINK, _DELLINK, _GETLINK, _SETLINK = 16, 17, 18, 19
_NEWADDR, _GETADDR, _NEWROUTE, _GETROUTE, _DELNEIGH = 20, 22, 24, 26, 29
_ADDRESS, _IFNAME, _MTU, _MASTER, _LINKINFO, _STATS64, _NET_NS_FD = 1, 3, 4, 10, 18, 23, 28
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND, _INFO_SLAVE_DATA = 1, 2, 4, 5
_VETH_PEER, _BRPORT_MODE = 1, 4
UP, _PROMISC = 1, 0x100
_NODAD = 0x02


@dataclass(slots=True)
class Link:
    """An interface as the kernel shows it."""

    index: int
    name: str
    flags: int
    mac: str = ""
    mtu: int = 0
    master: int = 0
    counters: dict[str, int] = field(default_factory=dict)  # rx_bytes, tx_bytes, rx_errors, tx_errors, …


@dataclass(slots=True, frozen=True)
class Veth:
    """A pair to make: `host` in the host, a port of `master`; `peer` with `mac` in the namespace `netns`."""

    host: str
    host_mac: str
    peer: str
    mac: str
    netns: int  # descriptor
    master: int
    mtu: int = 0
    hairpin: bool = False


class Links:
    """rtnetlink in one network namespace: that of the thread that made it. Raises OSError."""

    def __init__(self) -> None:
        self._socket = netlink.Socket(socket.NETLINK_ROUTE)

    def __enter__(self) -> "Links":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def find(self, name: str) -> Link | None:
        """The interface of that name, or None."""
        try:
            body = self._socket.ask(message(_GETLINK, 0, _info() + text(_IFNAME, name)))[0]
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return _link(body)

    def all(self) -> list[Link]:
        """Every interface of the namespace."""
        return [_link(body) for body in self._socket.ask(message(_GETLINK, netlink.NLM_F_DUMP, _info()))]

    def addresses(self, index: int) -> list[Interface]:
        """The addresses of an interface."""
        found = []
        for body in self._socket.ask(message(_GETADDR, netlink.NLM_F_DUMP, bytes(8))):
            _, prefix, _, _, of = struct.unpack_from("=BBBBI", body)
            values = netlink.attributes(body[8:])
            packed = values.get(2) or values.get(1)
            if of == index and packed:
                found.append(ipaddress.ip_interface((packed, prefix)))
        return found

    def default_gateways(self) -> list[Address]:
        """The gateways of the namespace's default routes."""
        found = []
        for body in self._socket.ask(message(_GETROUTE, netlink.NLM_F_DUMP, bytes(12))):
            gateway = netlink.attributes(body[12:]).get(5)
            if body[1] == 0 and gateway:
                found.append(ipaddress.ip_address(gateway))
        return found

    def make_bridge(self, name: str, mac: str, mtu: int = 0) -> Link:
        """The bridge of that name, made when there is none; up. Its MAC is set, or it would change with its ports."""
        body = _info(flags=UP, change=UP) + text(_IFNAME, name) + attribute(_ADDRESS, packed_mac(mac))
        body += (u32(_MTU, mtu) if mtu else b"") + nested(_LINKINFO, text(_INFO_KIND, "bridge"))
        with _content_with(errno.EEXIST):
            self._socket.send(message(_NEWLINK, netlink.NLM_F_CREATE | netlink.NLM_F_EXCL, body))
        found = self.find(name)
        if found is None:
            raise OSError(errno.ENODEV, "the bridge was deleted while it was set up", name)
        return found

    def set_flags(self, index: int, *, up: bool = True, promiscuous: bool | None = None) -> None:
        flags = (UP if up else 0) | (_PROMISC if promiscuous else 0)
        change = UP | (_PROMISC if promiscuous is not None else 0)
        self._socket.send(message(_NEWLINK, 0, _info(index, flags, change)))

    def make_veth(self, pair: Veth) -> None:
        """Make the pair: host end up and in the bridge, its peer in the namespace, still down."""
        mtu = u32(_MTU, pair.mtu) if pair.mtu else b""
        # The peer must not be up yet (ENOTCONN): its partner is not there while it is made.
        peer = _info() + text(_IFNAME, pair.peer) + attribute(_ADDRESS, packed_mac(pair.mac)) + mtu
        peer += u32(_NET_NS_FD, pair.netns)
        body = _info(flags=UP, change=UP) + text(_IFNAME, pair.host) + attribute(_ADDRESS, packed_mac(pair.host_mac))
        body += mtu + u32(_MASTER, pair.master)
        body += nested(_LINKINFO, text(_INFO_KIND, "veth"), nested(_INFO_DATA, attribute(_VETH_PEER, peer)))
        messages = [message(_NEWLINK, netlink.NLM_F_CREATE | netlink.NLM_F_EXCL, body)]
        if pair.hairpin:
            mode = nested(_INFO_SLAVE_DATA, attribute(_BRPORT_MODE, b"\1"))
            info = nested(_LINKINFO, text(_INFO_SLAVE_KIND, "bridge"), mode)
            messages.append(message(_NEWLINK, 0, _info() + text(_IFNAME, pair.host) + info))
        self._socket.send(*messages)

    def configure(self, index: int, addresses: list[Interface], routes: list[tuple[Subnet, Address | None]]) -> None:
        """Bring up lo and the interface, give it the addresses and routes: one batch."""
        batch = [message(_NEWLINK, 0, _info(1, UP, UP)), message(_NEWLINK, 0, _info(index, UP, UP))]
        batch += [_new_address(index, one) for one in addresses]
        batch += [_new_route(index, subnet, gateway) for subnet, gateway in routes]
        self._socket.send(*batch)

    def add_address(self, index: int, address: Interface) -> None:
        """Content when it is there."""
        with _content_with(errno.EEXIST):
            self._socket.send(_new_address(index, address))

    def take_off_bridge(self, name: str) -> None:
        """Cut a port off its bridge at once; content when the link is gone."""
        with _content_with(errno.ENODEV, errno.EINVAL):
            self._socket.send(message(_NEWLINK, 0, _info() + text(_IFNAME, name) + u32(_MASTER, 0)))

    def forget_neighbour(self, index: int, address: Address) -> None:
        """Drop the MAC known for an address on an interface; content when there is none."""
        body = struct.pack("=BBHiHBB", _family(address), 0, 0, index, 0, 0, 0) + attribute(1, address.packed)
        with _content_with(errno.ENOENT, errno.ENODEV):
            self._socket.send(message(_DELNEIGH, 0, body))

    def delete(self, name: str) -> None:
        """Delete a link and wait for it (30 ms and more); content when it is gone."""
        with _content_with(errno.ENODEV):
            self._socket.send(message(_DELLINK, 0, _info() + text(_IFNAME, name)))


@contextlib.contextmanager
def _content_with(*codes: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in codes:
            raise


@contextlib.contextmanager
def opened(path: str) -> Iterator[int]:
    """A descriptor of a namespace's file. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def packed_mac(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def mac_of(address: Address) -> str:
    """A locally administered MAC that belongs to the address: whoever gets the address next has the same
    MAC, so no neighbour's memory is ever wrong."""
    return ":".join(f"{byte:02x}" for byte in b"\x0a\x58" + address.packed[-4:])


def random_mac() -> str:
    return ":".join(f"{byte:02x}" for byte in b"\x0a\x59" + os.urandom(4))


def _info(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("=BxHiII", 0, 0, index, flags, change)


def _family(address: Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _new_address(index: int, address: Interface) -> bytes:
    prefix = address.network.prefixlen
    body = struct.pack("=BBBBI", _family(address), prefix, _NODAD if address.version == 6 else 0, 0, index)
    body += attribute(2, address.packed) + attribute(1, address.packed)
    if address.version == 4 and prefix < 31:
        body += attribute(4, address.network.broadcast_address.packed)
    return message(_NEWADDR, netlink.NLM_F_CREATE | netlink.NLM_F_EXCL, body)


def _new_route(index: int, subnet: Subnet, gateway: Address | None) -> bytes:
    scope = 0 if gateway else 253  # universe, or link
    family = _family(subnet.network_address)
    body = struct.pack("=BBBBBBBBI", family, subnet.prefixlen, 0, 0, 254, 3, scope, 1, 0)
    body += attribute(1, subnet.network_address.packed) if subnet.prefixlen else b""
    body += (attribute(5, gateway.packed) if gateway else b"") + u32(4, index)
    return message(_NEWROUTE, netlink.NLM_F_CREATE | netlink.NLM_F_EXCL, body)


def _link(body: bytes) -> Link:
    index, flags = struct.unpack_from("=iI", body, 4)
    values = netlink.attributes(body[16:])
    name = values.get(_IFNAME, b"").rstrip(b"\0").decode()
    link = Link(index, name, flags, ":".join(f"{byte:02x}" for byte in values.get(_ADDRESS, b"")))
    if _MTU in values:
        link.mtu = struct.unpack("=I", values[_MTU])[0]
    if _MASTER in values:
        link.master = struct.unpack("=I", values[_MASTER])[0]
    if len(values.get(_STATS64, b"")) >= 64:
        names = (
            "rx_packets",
            "tx_packets",
            "rx_bytes",
            "tx_bytes",
            "rx_errors",
            "tx_errors",
            "rx_dropped",
            "tx_dropped",
        )
        link.counters = dict(zip(names, struct.unpack_from("=8Q", values[_STATS64]), strict=True))
    return link
