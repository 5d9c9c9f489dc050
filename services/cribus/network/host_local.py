"""Addresses from ranges of this host, one file an address, as the reference plugin host-local keeps them.

A file `<dataDir>/<network>/<address>` holds `<container>\\r\\n<interface>`; `last_reserved_ip.<n>` where
the search goes on, so an address rests before it is used again. The folder's `lock` (flock) is the
reference's own: both may work on one folder. A file appears by link(2), whole or not at all.
"""

import contextlib
import fcntl
import ipaddress
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cribus.errors import InvalidArgument, ResourceExhausted
from cribus.linux import files
from cribus.network.links import Address, Interface, Subnet

DATA_DIR = "/var/lib/cni/networks"
_KEYS = {"type", "subnet", "rangeStart", "rangeEnd", "gateway", "ranges", "routes", "dataDir"}


@dataclass(slots=True, frozen=True)
class Range:
    """First and last are the ones given out; the gateway, when among them, is not."""

    subnet: Subnet
    first: Address
    last: Address
    gateway: Address


@dataclass(slots=True, frozen=True)
class Allocation:
    address: Interface
    gateway: Address


def supports(ipam: dict[str, Any]) -> bool:
    """Whether every option is one that we behave alike for."""
    routes = ipam.get("routes") or []
    return (
        ipam.get("type") == "host-local" and ipam.keys() <= _KEYS and all(one.keys() <= {"dst", "gw"} for one in routes)
    )


def parse_ranges(ipam: dict[str, Any], given: list[list[dict[str, Any]]]) -> list[list[Range]]:
    """One list a wanted address; `given` by the runtime (capability ipRanges) come first. Raises InvalidArgument."""
    sets = list(given)
    if ipam.get("subnet"):
        sets.append([ipam])
    sets += ipam.get("ranges") or []
    if not sets:
        raise InvalidArgument("host-local has no range: give ipam.ranges or ipam.subnet")
    return [[_range(one) for one in group] for group in sets]


def _range(one: dict[str, Any]) -> Range:
    try:
        subnet = ipaddress.ip_network(one["subnet"], strict=False)
        ends = 1 if subnet.version == 4 else 0
        first = ipaddress.ip_address(one.get("rangeStart") or int(subnet.network_address) + 1)
        last = ipaddress.ip_address(one.get("rangeEnd") or int(subnet.broadcast_address) - ends)
        gateway = ipaddress.ip_address(one.get("gateway") or int(subnet.network_address) + 1)
        if subnet.version == 6:
            first, last, gateway = (ipaddress.IPv6Address(int(each)) for each in (first, last, gateway))
    except (KeyError, ValueError) as error:
        raise InvalidArgument(f"address range {one} is wrong: {error}") from error
    if subnet.prefixlen > subnet.max_prefixlen - 2:
        raise InvalidArgument(f"subnet {subnet} is too small to give out addresses: take a shorter prefix")
    if first not in subnet or last not in subnet or int(first) > int(last):
        raise InvalidArgument(f"range {first}-{last} is not inside subnet {subnet}, or ends before it begins")
    return Range(subnet, first, last, gateway)


class Store:
    """The folder of one network."""

    def __init__(self, data_dir: str, network: str) -> None:
        self.folder = os.path.join(data_dir or DATA_DIR, network)

    def allocate(self, ranges: list[list[Range]], container: str, interface: str) -> list[Allocation]:
        """One address from each group of ranges, all or none.

        Raises ResourceExhausted when a group is used up.
        """
        owner = f"{container}\r\n{interface}".encode()
        with self._locked():
            mine = os.path.join(self.folder, f".{container[:64]}.new")
            files.write_at(files.AT_FDCWD, mine, owner)
            found: list[Allocation] = []
            try:
                for number, group in enumerate(ranges):
                    found.append(self._take(mine, number, group))
            except ResourceExhausted:
                for one in found:
                    os.unlink(self._file(one.address.ip))
                raise
            finally:
                os.unlink(mine)
        return found

    def _take(self, mine: str, number: int, group: list[Range]) -> Allocation:
        last_file = os.path.join(self.folder, f"last_reserved_ip.{number}")
        for of, value in _candidates(group, self._last(last_file)):
            address = _address(of, value)
            try:
                os.link(mine, self._file(address))
            except FileExistsError:
                continue
            files.write_atomic(last_file, str(address).encode())
            return Allocation(ipaddress.ip_interface((address, of.subnet.prefixlen)), of.gateway)
        subnets = ", ".join(str(one.subnet) for one in group)
        raise ResourceExhausted(f"no free address in {subnets}: remove pods or enlarge the range ({self.folder})")

    def owned(self, address: Address, container: str) -> bool:
        return self._owner(str(address)) == container

    def release(self, container: str, known: list[Address]) -> None:
        """Free the container's addresses: the known ones, or without any, all that bear its id. Idempotent."""
        names = [str(one) for one in known] or self._names()
        for name in names:
            if self._owner(name) == container:
                self._unlink(name)

    def keep_only(self, containers: set[str]) -> None:
        """Free what belongs to none of these, also files that a crash of the machine left empty."""
        for name in self._names():
            if self._owner(name) not in containers:
                self._unlink(name)

    def _unlink(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.folder, name))

    def _owner(self, name: str) -> str:
        """The container that has the address; empty when nobody has."""
        try:
            return files.read(os.path.join(self.folder, name)).decode().strip().partition("\r\n")[0]
        except FileNotFoundError:
            return ""

    def _names(self) -> list[str]:
        return [name for name in files.listed(self.folder) if name[:1] not in (".", "l")]  # lock, last_reserved_ip

    def _file(self, address: Address) -> str:
        return os.path.join(self.folder, str(address))

    def _last(self, path: str) -> Address | None:
        try:
            return ipaddress.ip_address(files.read(path).decode().strip())
        except (FileNotFoundError, ValueError):
            return None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        os.makedirs(self.folder, mode=0o755, exist_ok=True)
        fd = os.open(os.path.join(self.folder, "lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _candidates(group: list[Range], last: Address | None) -> Iterator[tuple[Range, int]]:
    """Every address of the group once, beginning after the last one given out."""
    start = next((n for n, one in enumerate(group) if last is not None and _inside(one, last)), None)
    order = group if start is None else group[start:] + group[:start]
    begin = int(last) + 1 if start is not None and last is not None else int(order[0].first)
    for number, one in enumerate(order):
        for value in range(begin if number == 0 else int(one.first), int(one.last) + 1):
            if value != int(one.gateway):
                yield one, value
    for value in range(int(order[0].first), begin):
        if value != int(order[0].gateway):
            yield order[0], value


def _inside(one: Range, address: Address) -> bool:
    return address.version == one.subnet.version and int(one.first) <= int(address) <= int(one.last)


def _address(of: Range, value: int) -> Address:
    return ipaddress.IPv4Address(value) if of.subnet.version == 4 else ipaddress.IPv6Address(value)
