import ipaddress
import subprocess

import pytest
from cribus.errors import AlreadyExists
from cribus.network.firewall import Firewall, HostPort, Segment, base, parse_port

from tests.unit.network.conftest import BRIDGE, TAG, table_text

POD, OTHER = ipaddress.ip_address("10.1.0.2"), ipaddress.ip_address("10.1.0.3")
SEGMENT = Segment(ipaddress.ip_network("10.1.0.0/16"), BRIDGE)


def port(number: int, to: str = "10.1.0.2", host: str = "") -> HostPort:
    return HostPort("tcp", number, ipaddress.ip_address(host) if host else None, ipaddress.ip_address(to), 80)


def test_ports_come_and_go(firewall: Firewall) -> None:
    firewall.know(SEGMENT)
    wanted = [port(18001), port(18002, host="127.0.0.1")]
    firewall.open_ports(wanted)
    firewall.open_ports(wanted)
    assert "tcp . 18001 : 10.1.0.2 . 80" in table_text()
    assert "127.0.0.1 . tcp . 18002 : 10.1.0.2 . 80" in table_text()
    assert firewall.is_open(wanted[0])
    firewall.close_ports(wanted)
    firewall.close_ports(wanted)
    assert "elements" not in table_text()
    assert not firewall.is_open(wanted[0])


def test_a_port_has_one_owner(firewall: Firewall) -> None:
    firewall.open_ports([port(18001)])
    with pytest.raises(AlreadyExists, match="18001/tcp"):
        firewall.open_ports([port(18003, "10.1.0.3"), port(18001, "10.1.0.3")])
    assert "18003" not in table_text()


def test_a_flushed_table_is_written_anew(firewall: Firewall) -> None:
    firewall.know(SEGMENT)
    subprocess.run(["nft", "delete", "table", "ip", TAG], check=True)
    firewall.close_ports([port(18001)])
    firewall.open_ports([port(18001)])
    assert "18001" in table_text()
    assert "10.1.0.0/16 ip daddr" in table_text()


def test_restore_makes_it_exactly_so(firewall: Firewall) -> None:
    firewall.know(SEGMENT)
    firewall.open_ports([port(18001), port(18002)])
    firewall.restore([port(18002)], [])
    assert "18001" not in table_text()
    assert "18002" in table_text()
    assert "masquerade" not in table_text()
    firewall.restore([], [])
    assert "elements" not in table_text()


def test_both_families(firewall: Firewall) -> None:
    to = ipaddress.ip_address("fd00::2")
    firewall.open_ports([HostPort("udp", 18001, None, to, 53)])
    firewall.know(Segment(ipaddress.ip_network("fd00::/64"), BRIDGE))
    text = subprocess.run(["nft", "list", "table", "ip6", TAG], capture_output=True, text=True).stdout
    assert "udp . 18001 : fd00::2 . 53" in text
    assert "masquerade" in text


def test_without_masquerading_only_host_ports_are() -> None:
    lines = base("t", 4, [Segment(SEGMENT.subnet, "b", False)])
    assert not any("ip daddr !=" in line for line in lines)
    assert any("@forwarded masquerade" in line for line in lines)


def test_mappings() -> None:
    assert parse_port({"hostPort": 80, "containerPort": 8080, "protocol": "UDP"}, POD) == HostPort(
        "udp", 80, None, POD, 8080
    )
    assert parse_port({"hostPort": 0, "containerPort": 80}, POD) is None
    assert parse_port({"hostPort": 1, "containerPort": 80, "hostIP": "::1"}, POD) is None
    anywhere = parse_port({"hostPort": 1, "containerPort": 80, "hostIP": "0.0.0.0"}, OTHER)
    assert anywhere is not None
    assert anywhere.host is None
