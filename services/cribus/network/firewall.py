"""Our nftables tables: host ports and masquerading, in one table a family. Touches no other table.

The rules are written once; a pod adds elements to maps. libnftables is called in process: starting
`nft` costs 2.5 ms. No packet mark is used, since other programs give bits of it their own meaning.
Sources: nft(8), libnftables(3).
"""

import ctypes
import ipaddress
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from cribus.errors import AlreadyExists, Unavailable, Unimplemented
from cribus.network.links import Address, Subnet


@dataclass(slots=True, frozen=True)
class HostPort:
    """`protocol` tcp, udp or sctp; `host` None: every address of the host."""

    protocol: str
    port: int
    host: Address | None
    to: Address
    to_port: int


@dataclass(slots=True, frozen=True)
class Segment:
    """A subnet behind a bridge; with `masquerade`, what leaves it for elsewhere gets the host's address."""

    subnet: Subnet
    bridge: str
    masquerade: bool = True


class Firewall:
    """The tables of one node, both families named `table`. Safe to use from several threads."""

    def __init__(self, table: str) -> None:
        self.table = table
        self._lock = threading.Lock()
        self._context: int | None = None
        self._library: ctypes.CDLL | None = None
        self._rendered: dict[int, set[Segment]] = {}

    def is_known(self, bridge: str) -> bool:
        """Whether a segment behind this bridge has our rules."""
        return any(one.bridge == bridge for known in self._rendered.values() for one in known)

    def know(self, wanted: Segment) -> None:
        """See that the segment has its rules; at once when it is known to."""
        version = wanted.subnet.version
        if wanted not in self._rendered.get(version, ()):
            self.render(version, {*self._rendered.get(version, ()), wanted})

    def render(self, version: int, segments: set[Segment]) -> None:
        """Write table, maps and rules of one family (4 or 6), in one transaction; elements stay."""
        self._run("\n".join(base(self.table, version, sorted(segments, key=str))))
        self._rendered[version] = segments

    def open_ports(self, ports: list[HostPort]) -> None:
        """Forward these host ports, all or none. Raises AlreadyExists when one is another pod's."""
        versions = {one.to.version for one in ports}
        for version in versions - self._rendered.keys():
            self.render(version, set())
        script = "\n".join(line for one in ports for line in self._lines("add", one))
        try:
            self._run(script)
        except Unavailable:
            # The table may have been flushed by another program: write it anew and try once more.
            for version in versions:
                self.render(version, self._rendered[version])
            self._open_again(ports, script)

    def _open_again(self, ports: list[HostPort], script: str) -> None:
        try:
            self._run(script)
        except Unavailable as error:
            if "File exists" not in error.message:
                raise
            names = ", ".join(f"{one.port}/{one.protocol}" for one in ports)
            raise AlreadyExists(
                f"host port {names} belongs to another pod: stop that pod or take another port"
            ) from error

    def close_ports(self, ports: list[HostPort]) -> None:
        """Forward them no more; content when an element or the table is gone, or the port is another pod's."""
        # nft deletes by key, whatever the target: the port of a pod that came first must stay its own.
        lines = [self._lines("delete", one) for one in ports if self.is_open(one)]
        try:
            self._run("\n".join(line for pair in lines for line in pair))
        except Unavailable:
            for line in (line for pair in lines for line in pair):
                self._delete_element(line)

    def _delete_element(self, line: str) -> None:
        try:
            self._run(line)
        except Unavailable as error:
            if "No such file" not in error.message:
                raise

    def is_open(self, one: HostPort) -> bool:
        """Whether the kernel forwards the port to this very target."""
        try:
            shown = self._run(self._lines("get", one)[0])
        except Unavailable:
            return False
        return f" : {one.to} . {one.to_port} " in shown

    def restore(self, ports: Iterable[HostPort], segments: Iterable[Segment]) -> None:
        """Make elements and rules exactly these, each family in one transaction."""
        wanted, subnets = list(ports), set(segments)
        versions = {one.to.version for one in wanted} | {one.subnet.version for one in subnets} | self._present()
        for version in versions:
            mine = {one for one in subnets if one.subnet.version == version}
            script = base(self.table, version, sorted(mine, key=str))
            script += [f"flush {kind} {self._family(version)} {self.table} {name}" for kind, name in _MAPS]
            script += [line for one in wanted if one.to.version == version for line in self._lines("add", one)]
            self._run("\n".join(script))
            self._rendered[version] = mine

    def delete(self) -> None:
        """Remove both tables; content when they are gone."""
        for version in (4, 6):
            family = self._family(version)
            self._run(f"add table {family} {self.table}\ndelete table {family} {self.table}")
        self._rendered.clear()

    def _present(self) -> set[int]:
        listed = self._run("list tables")
        return {version for version in (4, 6) if f"table {self._family(version)} {self.table}\n" in listed}

    @staticmethod
    def _family(version: int) -> str:
        return "ip" if version == 4 else "ip6"

    def _lines(self, verb: str, one: HostPort) -> list[str]:
        head = f"{verb} element {self._family(one.to.version)} {self.table}"
        key, name = f"{one.protocol} . {one.port}", "hostports"
        if one.host is not None:
            key, name = f"{one.host} . {key}", "hostip_ports"
        target = f" : {one.to} . {one.to_port}" if verb == "add" else ""
        return [
            f"{head} {name} {{ {key}{target} }}",
            f"{head} forwarded {{ {one.to} . {one.protocol} . {one.to_port} }}",
        ]

    def _run(self, script: str) -> str:
        """Run nft commands as one transaction; what they print. Raises Unavailable with nft's words."""
        with self._lock:
            library, context = self._open()
            failed = library.nft_run_cmd_from_buffer(context, script.encode())
            output: bytes = library.nft_ctx_get_output_buffer(context) or b""
            error: bytes = library.nft_ctx_get_error_buffer(context) or b""
        if failed:
            words = error.decode(errors="replace").strip()
            raise Unavailable(f"nftables refuses the rules of table {self.table}: {words}")
        return output.decode(errors="replace")

    def _open(self) -> tuple[ctypes.CDLL, int]:
        if self._library is None or self._context is None:
            try:
                library = ctypes.CDLL("libnftables.so.1")
            except OSError as error:
                raise Unimplemented("libnftables.so.1 is missing: install libnftables1 (or nftables)") from error
            library.nft_ctx_new.restype = ctypes.c_void_p
            library.nft_ctx_new.argtypes = [ctypes.c_uint32]
            library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
            for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
                getattr(library, name).restype = ctypes.c_char_p
                getattr(library, name).argtypes = [ctypes.c_void_p]
            for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
                getattr(library, name).argtypes = [ctypes.c_void_p]
            context = library.nft_ctx_new(0)
            library.nft_ctx_buffer_output(context)
            library.nft_ctx_buffer_error(context)
            self._library, self._context = library, context
        return self._library, self._context


_MAPS = (("map", "hostports"), ("map", "hostip_ports"), ("set", "forwarded"))


def base(table: str, version: int, segments: list[Segment]) -> list[str]:
    """The commands that bring table, maps and rules of a family into their final form, from any earlier one."""
    ip = "ip" if version == 4 else "ip6"
    kind = "ipv4_addr" if version == 4 else "ipv6_addr"
    multicast, loopback = ("224.0.0.0/4", "127.0.0.0/8") if version == 4 else ("ff00::/8", "::1")
    name = f"{ip} {table}"
    lines = [
        f"add table {name}",
        f"add map {name} hostports {{ type inet_proto . inet_service : {kind} . inet_service; }}",
        f"add map {name} hostip_ports {{ type {kind} . inet_proto . inet_service : {kind} . inet_service; }}",
        f"add set {name} forwarded {{ type {kind} . inet_proto . inet_service; }}",  # the pods' ends of host ports
        f"add chain {name} martians {{ type filter hook prerouting priority -300; }}",
        f"add chain {name} prerouting {{ type nat hook prerouting priority -100; }}",
        f"add chain {name} output {{ type nat hook output priority -100; }}",
        f"add chain {name} postrouting {{ type nat hook postrouting priority 100; }}",
        *(f"flush chain {name} {chain}" for chain in ("martians", "prerouting", "output", "postrouting")),
    ]
    for chain in ("prerouting", "output"):
        head = f"add rule {name} {chain} fib daddr type local dnat {ip} to"
        lines.append(f"{head} {ip} daddr . meta l4proto . th dport map @hostip_ports")
        lines.append(f"{head} meta l4proto . th dport map @hostports")
    post = f"add rule {name} postrouting"
    for one in segments:
        bridge = f'"{one.bridge}"'
        # A pod must not reach the host's own loopback services through the open door of route_localnet.
        lines.append(f"add rule {name} martians iifname {bridge} {ip} daddr {loopback} drop")
        lines.append(f"{post} oifname {bridge} {ip} saddr {loopback} masquerade")
        # From the pod's own subnet the answer would not pass here: it must come back to us first.
        forwarded = f"{ip} daddr . meta l4proto . th dport @forwarded"
        lines.append(f"{post} ct status dnat {ip} saddr {one.subnet} {forwarded} masquerade")
        if one.masquerade:
            elsewhere = f"{ip} daddr != {one.subnet} {ip} daddr != {multicast}"
            lines.append(f"{post} {ip} saddr {one.subnet} {elsewhere} masquerade")
    return lines


def parse_port(mapping: dict[str, object], to: Address) -> HostPort | None:
    """A CNI portMapping towards one address of the pod; None when it asks for no host port, or for the
    other family's."""
    port = int(str(mapping.get("hostPort") or 0))
    named = str(mapping.get("hostIP") or "")
    host = ipaddress.ip_address(named) if named else None
    if not port or (host is not None and host.version != to.version):
        return None
    if host is not None and host.is_unspecified:
        host = None
    protocol = str(mapping.get("protocol") or "tcp").lower()
    return HostPort(protocol, port, host, to, int(str(mapping.get("containerPort") or port)))
