import ipaddress

from cribus.linux.netns import within
from cribus.network import links
from cribus.network.links import Links, Veth

from tests.unit.network.conftest import TAG, MakeNamespace, inside


def test_macs_belong_to_addresses() -> None:
    assert links.mac_of(ipaddress.ip_address("10.88.0.2")) == "0a:58:0a:58:00:02"
    assert links.packed_mac(links.random_mac())[0] & 3 == 2  # local, not multicast


def test_a_veth_from_bridge_to_namespace(namespace: MakeNamespace, bridge: str) -> None:
    path = namespace()
    mac = "0a:58:01:02:03:04"
    with Links() as host, links.opened(path) as netns:
        made = host.make_bridge(bridge, "0a:58:00:00:00:01")
        assert host.make_bridge(bridge, "0a:58:00:00:00:02").index == made.index  # it is there
        host.make_veth(Veth(f"{TAG}v", links.random_mac(), "eth0", mac, netns, made.index, 1400, True))
        port = host.find(f"{TAG}v")
        assert port is not None
        assert (port.master, port.mtu, bool(port.flags & links.UP)) == (made.index, 1400, True)
        address = ipaddress.ip_interface("10.5.0.2/24")
        gateway = ipaddress.ip_address("10.5.0.1")

        def configure() -> links.Link:
            with Links() as pod:
                found = pod.find("eth0")
                assert found is not None
                pod.configure(found.index, [address], [(ipaddress.ip_network("0.0.0.0/0"), gateway)])
                assert address in pod.addresses(found.index)
                assert pod.default_gateways() == [gateway]
                return found

        peer = within(netns, configure)
        assert (peer.mac, peer.mtu) == (mac, 1400)
        host.take_off_bridge(f"{TAG}v")
        off = host.find(f"{TAG}v")
        assert off is not None
        assert off.master == 0
        host.delete(f"{TAG}v")
        host.delete(f"{TAG}v")
        host.take_off_bridge(f"{TAG}v")
        assert host.find(f"{TAG}v") is None
    assert "eth0" not in inside(path, "ip", "link")


def test_addresses_and_neighbours_twice(bridge: str) -> None:
    with Links() as host:
        made = host.make_bridge(bridge, "0a:58:00:00:00:01")
        for text in ("10.6.0.1/24", "fd00:6::1/64"):
            for _ in range(2):
                host.add_address(made.index, ipaddress.ip_interface(text))
            assert ipaddress.ip_interface(text) in host.addresses(made.index)
        host.forget_neighbour(made.index, ipaddress.ip_address("10.6.0.9"))


def test_counters(namespace: MakeNamespace) -> None:
    with Links() as host:
        found = {link.name: link for link in host.all()}
    assert found["lo"].counters.keys() >= {"rx_bytes", "tx_bytes", "rx_errors", "tx_errors"}
