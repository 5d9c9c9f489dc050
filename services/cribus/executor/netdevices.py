"""The host's network devices that move into a container's network namespace, with their addresses.

Source: runtime-spec config-linux.md "Network Devices", rtnetlink(7).
"""

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

from cribus.errors import AlreadyExists, InvalidArgument
from cribus.linux import files, netlink, netns
from cribus.linux.netlink import attribute, message, text, u32

_NEWLINK, _GETLINK, _NEWADDR, _GETADDR = 16, 18, 20, 22
_IFNAME, _NET_NS_FD, _ADDRESS, _LOCAL = 3, 28, 1, 2
_UP, _PERMANENT, _NODAD = 1, 0x80, 0x02


def move(devices: dict[str, Any], pidfd: int, note: str) -> None:
    """Move each to that process's network namespace, under its new name, up and with its lasting addresses.

    One that is there already stays: a container before this one, or an attempt that was cut short, had it. `note` is
    a file that knows meanwhile which addresses a device had. Raises InvalidArgument, AlreadyExists, OSError.
    """
    with netlink.Socket(socket.NETLINK_ROUTE) as host, _within(pidfd) as (inside, target):
        for name, device in devices.items():
            _move(host, inside, (name, device.get("name") or name, target), f"{note}.{name}")


def _move(host: netlink.Socket, inside: netlink.Socket, what: tuple[str, str, int], note: str) -> None:
    name, new, target = what
    index = _index(host, name)
    if index:
        addresses = _lasting(host, index)
        files.write_atomic(note, b"".join(attribute(0, one) for one in addresses))
        host.send(message(_NEWLINK, 0, _info(index, 0, _UP)))
        try:
            host.send(message(_NEWLINK, 0, _info(index) + text(_IFNAME, new) + u32(_NET_NS_FD, target)))
        except FileExistsError as error:
            raise AlreadyExists(f"linux.netDevices: the container has a network device {new} already") from error
    elif not _index(inside, new):
        raise InvalidArgument(f"linux.netDevices: the host has no network device {name}")
    else:
        addresses = _noted(note)
    moved = _index(inside, new)
    inside.send(message(_NEWLINK, 0, _info(moved, _UP, _UP)))
    for one in addresses:
        with contextlib.suppress(FileExistsError):
            inside.send(message(_NEWADDR, netlink.NLM_F_CREATE | netlink.NLM_F_EXCL, _readdressed(one, moved)))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(note)


def _noted(note: str) -> list[bytes]:
    """Addresses of a device that an attempt moved which was cut short; none after a whole one."""
    try:
        data = files.read(note)
    except FileNotFoundError:
        return []
    found, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from("=H", data, at)
        found.append(data[at + 4 : at + size])
        at += (size + 3) & ~3
    return found


def _index(where: netlink.Socket, name: str) -> int:
    """0 without one."""
    try:
        body = where.ask(message(_GETLINK, 0, _info() + text(_IFNAME, name)))[0]
    except OSError as error:
        if error.errno == errno.ENODEV:
            return 0
        raise
    found: int = struct.unpack_from("=i", body, 4)[0]
    return found


def _info(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("=BxHiII", 0, 0, index, flags, change)


def _lasting(host: netlink.Socket, index: int) -> list[bytes]:
    """Addresses, as messages tell them, that somebody gave the device for good and for everywhere."""
    found = []
    for body in host.ask(message(_GETADDR, netlink.NLM_F_DUMP, bytes(8))):
        _, _, flags, scope, of = struct.unpack_from("=BBBBI", body)
        if of == index and flags & _PERMANENT and scope == 0:
            found.append(body)
    return found


def _readdressed(body: bytes, index: int) -> bytes:
    """The same address for the device with that index."""
    family, prefix, _, _, _ = struct.unpack_from("=BBBBI", body)
    known = netlink.attributes(body[8:])
    flags = _NODAD if family == socket.AF_INET6 else 0
    wanted = {kind: known[kind] for kind in (_ADDRESS, _LOCAL, 4) if kind in known}  # 4: broadcast
    made = struct.pack("=BBBBI", family, prefix, flags, 0, index)
    return made + b"".join(attribute(kind, data) for kind, data in wanted.items())


@contextlib.contextmanager
def _within(pidfd: int) -> Iterator[tuple[netlink.Socket, int]]:
    """A socket in that process's network namespace, and the namespace. Raises ProcessLookupError when the process
    has ended."""

    def entered() -> tuple[netlink.Socket, int]:
        target = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        return netlink.Socket(socket.NETLINK_ROUTE), target

    inside, target = netns.within(pidfd, entered)
    try:
        with inside:
            yield inside, target
    finally:
        os.close(target)
