"""The plugins bridge and host-local, built in: what the reference plugins do, through netlink in process.

Only configurations all of whose options are known here come this way (`supports`); the chain executes the
reference plugin for the others.
"""

import ipaddress
from typing import Any

from cribus.errors import FailedPrecondition
from cribus.linux import files
from cribus.linux.netns import within
from cribus.network import host_local, links
from cribus.network.external import Call
from cribus.network.firewall import Firewall, Segment
from cribus.network.links import Address, Interface, Link, Links, Subnet, Veth
from cribus.steps import Step

Conf = dict[str, Any]
_KEYS = {"cniVersion", "name", "type", "bridge", "isGateway", "isDefaultGateway", "ipMasq", "ipMasqBackend"}
_KEYS |= {"hairpinMode", "promiscMode", "mtu", "ipam", "dns", "capabilities", "runtimeConfig", "prevResult"}
_OFF = {"forceAddress", "vlan", "enabledad", "macspoofchk", "vlanTrunk", "portIsolation", "disableContainerInterface"}
_ADDRESS = Step("manager.network.address")
_VETH = Step("manager.network.veth")
_CUT = Step("manager.network.cut")
_RELEASED = Step("manager.network.released")


def supports(conf: Conf) -> bool:
    """Whether every option is one that we behave alike for."""
    known = all(key in _KEYS or (key in _OFF and not value) for key, value in conf.items())
    abilities = {key for key, on in (conf.get("capabilities") or {}).items() if on}
    both = conf.get("hairpinMode") and conf.get("promiscMode")
    return known and not both and abilities <= {"ipRanges", "dns"} and host_local.supports(conf.get("ipam") or {})


class Bridge:
    """The plugin, for one node's firewall."""

    def __init__(self, firewall: Firewall) -> None:
        self._firewall = firewall
        self._ensured: set[tuple[int, Interface]] = set()  # bridge index and gateway address seen to

    def add(self, conf: Conf, call: Call) -> Conf:
        given = (conf.get("runtimeConfig") or {}).get("ipRanges") or []
        ranges = host_local.parse_ranges(conf["ipam"], given)
        with _ADDRESS.of(call.container):
            taken = _store(conf).allocate(ranges, call.container, call.interface)
        with Links() as host, links.opened(call.netns) as netns:
            bridge = self._bridge(host, conf, taken)
            mac = links.mac_of(taken[0].address.ip)
            pair = Veth(
                call.host_link, links.random_mac(), call.interface, mac, netns, bridge.index,
                int(conf.get("mtu") or 0), bool(conf.get("hairpinMode")),
            )  # fmt: skip
            routes = _routes(conf, taken)
            within(netns, lambda: _inside(host, pair, [one.address for one in taken], routes))
        for one in taken:
            self._firewall.know(Segment(one.address.network, bridge.name, bool(conf.get("ipMasq"))))
        return _result(conf, [bridge, pair.host_mac, mac], call, taken)

    def _bridge(self, host: Links, conf: Conf, taken: list[host_local.Allocation]) -> Link:
        """The bridge, made at need; with the gateways' addresses and forwarding when it is the gateway."""
        name = conf.get("bridge") or "cni0"
        found = host.find(name)
        if found is None:
            found = host.make_bridge(name, links.mac_of(taken[0].gateway), int(conf.get("mtu") or 0))
        elif not found.flags & links.UP:
            host.set_flags(found.index)
        if not conf.get("isGateway") and not conf.get("isDefaultGateway"):
            return found
        for one in taken:
            gateway = ipaddress.ip_interface((one.gateway, one.address.network.prefixlen))
            if (found.index, gateway) not in self._ensured:
                host.add_address(found.index, gateway)
                _forward(gateway.version)
                if conf.get("promiscMode"):
                    host.set_flags(found.index, promiscuous=True)
                self._ensured.add((found.index, gateway))
        return found

    def check(self, conf: Conf, call: Call) -> None:
        """Raises FailedPrecondition when what ADD made is not there any more."""
        wanted = {ipaddress.ip_interface(one["address"]) for one in conf["prevResult"].get("ips", [])}
        name = conf.get("bridge") or "cni0"
        with Links() as host, links.opened(call.netns) as netns:
            bridge, port = host.find(name), host.find(call.host_link)
            if bridge is None or port is None or port.master != bridge.index:
                raise FailedPrecondition(f"{call.host_link} is not a port of bridge {name}: attach the pod anew")
            have = within(netns, lambda: _addresses(call.interface))
        missing = sorted(str(one) for one in wanted - set(have))
        lost = [str(one) for one in wanted if not _store(conf).owned(one.ip, call.container)]
        if missing or lost:
            raise FailedPrecondition(f"{call.interface} lacks {missing}, reserved no more {lost}: attach the pod anew")

    def delete(self, conf: Conf, call: Call) -> None:
        """Cut the pod off at once and free its addresses; the kernel removes the veth with the namespace."""
        before = (conf.get("prevResult") or {}).get("ips") or []
        addresses = [ipaddress.ip_interface(one["address"]).ip for one in before]
        with Links() as host:
            with _CUT.of(call.container):
                host.take_off_bridge(call.host_link)
            bridge = host.find(conf.get("bridge") or "cni0") if addresses else None
            for one in addresses:
                if bridge is not None:
                    host.forget_neighbour(bridge.index, one)
        with _RELEASED.of(call.container):
            _store(conf).release(call.container, addresses)

    def collect(self, conf: Conf) -> None:
        """Free the addresses that belong to nobody who is attached (CNI's GC)."""
        _store(conf).keep_only({one["containerID"] for one in conf["cni.dev/valid-attachments"]})


def segments(conf: Conf, result: Conf) -> list[Segment]:
    """The segments that a result of ours needs rules for."""
    name = conf.get("bridge") or "cni0"
    networks = {ipaddress.ip_interface(one["address"]).network for one in result.get("ips", [])}
    return [Segment(one, name, bool(conf.get("ipMasq"))) for one in networks]


def _inside(host: Links, pair: Veth, addresses: list[Interface], routes: list[tuple[Subnet, Address | None]]) -> None:
    """In the pod's namespace: the veth (made by the host's socket), then everything else in one batch."""
    with Links() as inside:
        with _VETH.of():
            host.make_veth(pair)
        link = inside.find(pair.peer)
        if link is None:
            raise FailedPrecondition(f"{pair.peer} vanished from the pod's namespace while it was set up: repeat")
        if any(one.version == 6 for one in addresses):
            _allow_ipv6(pair.peer)
        inside.configure(link.index, addresses, routes)


def _allow_ipv6(interface: str) -> None:
    """A container's namespace may have IPv6 off by default."""
    switch = f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"
    if files.read(switch).strip() == b"1":
        files.write_at(files.AT_FDCWD, switch, b"0")


def _addresses(interface: str) -> list[Interface]:
    with Links() as inside:
        link = inside.find(interface)
        return inside.addresses(link.index) if link else []


def _routes(conf: Conf, taken: list[host_local.Allocation]) -> list[tuple[Subnet, Address | None]]:
    """The configured routes, through the range's gateway unless they name one."""
    gateways = {one.gateway.version: one.gateway for one in reversed(taken)}
    wanted = [(ipaddress.ip_network(one["dst"]), one.get("gw")) for one in conf["ipam"].get("routes") or []]
    if conf.get("isDefaultGateway"):
        have = {subnet for subnet, _ in wanted}
        every = [ipaddress.ip_network("0.0.0.0/0" if version == 4 else "::/0") for version in gateways]
        wanted += [(one, None) for one in every if one not in have]
    routes: list[tuple[Subnet, Address | None]] = []
    for subnet, gateway in wanted:
        routes.append((subnet, ipaddress.ip_address(gateway) if gateway else gateways.get(subnet.version)))
    return routes


def _result(conf: Conf, made: list[Any], call: Call, taken: list[host_local.Allocation]) -> Conf:
    """CNI's result: the bridge, the host end, the pod's end, and the addresses on the latter."""
    bridge, host_mac, mac = made
    old = {"4": {"version": "4"}, "6": {"version": "6"}} if conf["cniVersion"] < "1" else {}
    return {
        "cniVersion": conf["cniVersion"],
        "interfaces": [
            {"name": bridge.name, "mac": bridge.mac},
            {"name": call.host_link, "mac": host_mac},
            {"name": call.interface, "mac": mac, "sandbox": call.netns},
        ],
        "ips": [
            {
                **old.get(str(one.address.version), {}),
                "address": str(one.address),
                "gateway": str(one.gateway),
                "interface": 2,
            }
            for one in taken
        ],
        "routes": [
            {"dst": str(subnet), **({"gw": str(gateway)} if gateway else {})}
            for subnet, gateway in _routes(conf, taken)
        ],
        "dns": (conf.get("runtimeConfig") or {}).get("dns") or conf.get("dns") or {},
    }


def _store(conf: Conf) -> host_local.Store:
    return host_local.Store(conf["ipam"].get("dataDir") or "", conf["name"])


def _forward(version: int) -> None:
    switch = "/proc/sys/net/ipv4/ip_forward" if version == 4 else "/proc/sys/net/ipv6/conf/all/forwarding"
    if files.read(switch).strip() == b"0":
        files.write_at(files.AT_FDCWD, switch, b"1")
