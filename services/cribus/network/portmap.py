"""The plugin portmap, built in: host ports as elements of our nftables maps. Follows our own bridge only."""

import ipaddress
from typing import Any

from cribus.errors import FailedPrecondition
from cribus.linux import files
from cribus.network import conntrack
from cribus.network.external import Call
from cribus.network.firewall import Firewall, HostPort, parse_port
from cribus.network.links import Address

Conf = dict[str, Any]
_KEYS = {"cniVersion", "name", "type", "capabilities", "runtimeConfig", "prevResult", "backend"}


def supports(conf: Conf) -> bool:
    """Whether every option is one that we behave alike for."""
    extra = {key for key in conf if key not in _KEYS}
    return not extra - {"snat", "masqAll"} and conf.get("snat", True) is not False and not conf.get("masqAll")


class Portmap:
    """The plugin, for one node's firewall."""

    def __init__(self, firewall: Firewall) -> None:
        self._firewall = firewall

    def add(self, conf: Conf, call: Call) -> Conf:
        result: Conf = conf["prevResult"]
        wanted = ports(conf, result)
        if wanted:
            if any(one.to.version == 4 for one in wanted):
                _route_localnet(result["interfaces"][0]["name"])
            self._firewall.open_ports(wanted)
            _forget_flows(wanted)
        return result

    def check(self, conf: Conf, call: Call) -> None:
        """Raises FailedPrecondition when a port is not forwarded any more."""
        missing = [one for one in ports(conf, conf["prevResult"]) if not self._firewall.is_open(one)]
        if missing:
            raise FailedPrecondition(f"host port {missing[0].port} is not forwarded any more: attach the pod anew")

    def delete(self, conf: Conf, call: Call) -> None:
        wanted = ports(conf, conf.get("prevResult") or {})
        if wanted:
            self._firewall.close_ports(wanted)
            _forget_flows(wanted)

    def collect(self, conf: Conf) -> None:
        """Nothing to do: the firewall is restored from what is attached."""


def ports(conf: Conf, result: Conf) -> list[HostPort]:
    """The host ports wanted, towards the pod's first address of each family."""
    mappings = (conf.get("runtimeConfig") or {}).get("portMappings") or []
    addresses: dict[int, Address] = {}
    for one in result.get("ips") or []:
        address = ipaddress.ip_interface(one["address"]).ip
        addresses.setdefault(address.version, address)
    found = [parse_port(mapping, to) for to in addresses.values() for mapping in mappings]
    return [one for one in found if one is not None]


def _forget_flows(wanted: list[HostPort]) -> None:
    """UDP knows no connection: a flow that the kernel remembers would go on where it went before."""
    numbers = {one.port for one in wanted if one.protocol == "udp"}
    if numbers:
        conntrack.forget_udp(numbers)


def _route_localnet(bridge: str) -> None:
    """Packets from 127.0.0.1 may leave by the bridge; our rules keep pods from using the way in."""
    switch = f"/proc/sys/net/ipv4/conf/{bridge}/route_localnet"
    if files.read(switch).strip() == b"0":
        files.write_at(files.AT_FDCWD, switch, b"1")
